//! What is inside a disk image, compared with the packages it says it was made from, without
//! booting it and without mounting anything.

pub mod boot;
mod core;

use super::artifact::Placed;
use super::deb;
use super::disk::gpt::{self, Table};
use super::disk::image::{Part, Source};
use super::diversion::Diversions;
use super::error::Error;
use super::filesystem::ext4::read::{Kind, Node, Reader};
use super::manifest::Manifest;
use super::member::{self, Member, canonical};
use super::store::Store;
use crate::packages::lock::{OciImage, Package};
use crate::profile::Exclude;
use rayon::prelude::*;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;

const AGENT: &str = "usr/bin/muster";
/// Below these nothing but packages, overlays and this program writes what is not made anew by
/// a script.
const PROGRAMS: &str = "usr/";
/// Links that are followed to a file.
const LINKS: u32 = 8;
/// setuid and setgid.
const SET_ID: u32 = 0o6000;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Findings {
    /// Packages that are in the image as they should be.
    pub packages: usize,
    /// Files of packages whose content is the package's own.
    pub files: usize,
    /// Files and links of artifacts and container images that are as they were placed.
    pub placed: usize,
    /// What is not as it should be.
    pub problems: Vec<Problem>,
    /// Files of packages, as packaged, that scripts of packages made setuid or setgid.
    pub raised: Vec<String>,
    /// Files of packages outside of `/usr` that scripts of packages changed or removed.
    pub changed: Vec<String>,
    /// Files that neither a package nor an overlay brings: made by scripts of packages, and by
    /// the build.
    pub made: Vec<String>,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Problem {
    /// A path of the image, or a package.
    pub subject: String,
    /// What is wrong with it.
    pub what: String,
}

/// The root filesystem of an image: the partition of the first slot.
pub fn root<'s>(source: &'s dyn Source) -> io::Result<Part<'s>> {
    partition(source, "root-a")
}

/// A partition by its name.
pub fn partition<'s>(source: &'s dyn Source, name: &str) -> io::Result<Part<'s>> {
    let wrong = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let table = table(source).map_err(|error| wrong(error.to_string()))?;
    let found = table.find(name);
    let found = found.ok_or_else(|| wrong(format!("it has no partition {name}")))?;
    Ok(Part {
        source,
        start: found.start(),
        length: found.length(),
    })
}

/// The partition table.
pub fn table(source: &dyn Source) -> Result<Table, gpt::GptError> {
    let mut read = |offset: u64, into: &mut [u8]| source.read_at(offset, into);
    Ok(Table::read_copy(source.size(), 1, &mut read)?.0)
}

/// What a package has at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Shipped {
    File { digest: [u8; 32], mode: u32 },
    Symlink(Vec<u8>),
    Other,
}

/// Compares an image with the packages that are to be in it, whose files come from the cache.
pub struct Inspection<'a> {
    /// The root filesystem.
    pub root: &'a Reader<'a>,
    /// Everything in it.
    pub nodes: &'a BTreeMap<Vec<u8>, Node>,
    /// The packages that should be there, and no others.
    pub packages: &'a [Package],
    /// What images of its base do without.
    pub exclude: &'a Exclude,
    /// The artifacts that should be there.
    pub artifacts: &'a [Placed],
    /// The container images that should be there.
    pub images: &'a [OciImage],
    /// What the manifest beside the image says of overlays and the agent.
    pub manifest: Option<&'a Manifest>,
}

impl Inspection<'_> {
    /// Compares everything.
    pub fn run(&self, store: &Store) -> Result<Findings, Error> {
        let mut findings = Findings {
            packages: 0,
            files: 0,
            placed: 0,
            problems: Vec::new(),
            raised: Vec::new(),
            changed: Vec::new(),
            made: Vec::new(),
        };
        self.installed(&mut findings)?;
        let diversions = Diversions::parse(&self.text("var/lib/dpkg/diversions")?);
        let shipped: Vec<Vec<Landed>> = self
            .packages
            .par_iter()
            .map(|package| files(store, package, &diversions, self.exclude))
            .collect::<Result<_, _>>()?;
        let mut by_path: BTreeMap<String, Vec<Shipped>> = BTreeMap::new();
        let mut excluded = BTreeSet::new();
        for (path, shipped, skipped) in shipped.into_iter().flatten() {
            if skipped {
                excluded.insert(path.clone());
            }
            by_path.entry(path).or_default().push(shipped);
        }
        // What an image is to do without is compared where it is there all the same.
        by_path
            .retain(|path, _| !excluded.contains(path) || self.nodes.contains_key(path.as_bytes()));
        let overlay = self.overlay();
        let verdicts: Vec<(String, Verdict)> = by_path
            .into_par_iter()
            .map(|(path, shipped)| {
                let verdict = self.compare(&path, &shipped, &overlay)?;
                Ok((path, verdict))
            })
            .collect::<Result<_, Error>>()?;
        let mut known = BTreeSet::new();
        for (path, verdict) in verdicts {
            match verdict {
                Verdict::Same => findings.files += 1,
                Verdict::Raised => {
                    findings.files += 1;
                    findings.raised.push(format!("/{path}"));
                }
                Verdict::Ours => {}
                Verdict::Problem(what) if path.starts_with(PROGRAMS) => {
                    findings.problem(&path, &what);
                }
                Verdict::Problem(_) => findings.changed.push(format!("/{path}")),
            }
            known.insert(path.into_bytes());
        }
        self.artifacts(store, &overlay, &mut known, &mut findings)?;
        self.others(&known, &overlay, &mut findings)?;
        Ok(findings)
    }

    /// The packages that dpkg knows are those that should be there.
    fn installed(&self, findings: &mut Findings) -> Result<(), Error> {
        let text = self.text("var/lib/dpkg/status")?;
        let mut found = BTreeMap::new();
        for stanza in text
            .split("\n\n")
            .filter(|stanza| !stanza.trim().is_empty())
        {
            let fields = deb::fields(stanza);
            let get = |name: &str| {
                let field = fields.iter().find(|(key, _)| key == name);
                field.map(|(_, value)| value.as_str()).unwrap_or_default()
            };
            let name = format!("{}:{}", get("Package"), get("Architecture"));
            found.insert(name, (get("Version").to_owned(), get("Status").to_owned()));
        }
        for package in self.packages {
            let name = format!("{}:{}", package.name, package.architecture);
            match found.remove(&name) {
                None => findings.problem(&name, "is not installed"),
                Some((version, _)) if version != package.version => {
                    let what = format!("is {version}, not {}", package.version);
                    findings.problem(&name, &what);
                }
                Some((_, status)) if status != "install ok installed" => {
                    findings.problem(&name, &format!("is `{status}`"));
                }
                Some(_) => findings.packages += 1,
            }
        }
        for (name, (version, _)) in found {
            let what = format!("{version} is installed, and nothing asks for it");
            findings.problem(&name, &what);
        }
        Ok(())
    }

    /// What overlays and the build put over packages: path → SHA-256 where it is known.
    fn overlay(&self) -> BTreeMap<String, Option<String>> {
        let mut overlay = BTreeMap::new();
        if let Some(manifest) = self.manifest {
            for (path, digest) in &manifest.inputs.overlay {
                overlay.insert(canonical(&path[1..]), Some(digest.clone()));
            }
            overlay.insert(AGENT.to_owned(), Some(manifest.inputs.agent.clone()));
        } else {
            overlay.insert(AGENT.to_owned(), None);
        }
        overlay.insert("usr/share/muster/image.json".to_owned(), None);
        overlay
    }

    fn compare(
        &self,
        path: &str,
        shipped: &[Shipped],
        overlay: &BTreeMap<String, Option<String>>,
    ) -> Result<Verdict, Error> {
        if overlay.contains_key(path) {
            return Ok(Verdict::Ours);
        }
        let Some(node) = self.nodes.get(path.as_bytes()) else {
            return Ok(Verdict::Problem("is not there".into()));
        };
        let found = match &node.kind {
            Kind::File(_) => Shipped::File {
                digest: self.digest(node)?,
                mode: 0,
            },
            Kind::Symlink(target) => Shipped::Symlink(target.clone()),
            _ => Shipped::Other,
        };
        let same = shipped.iter().any(|shipped| match (shipped, &found) {
            (Shipped::File { digest, .. }, Shipped::File { digest: found, .. }) => digest == found,
            (shipped, found) => shipped == found,
        });
        let allowed = shipped.iter().fold(0, |all, shipped| match shipped {
            Shipped::File { mode, .. } => all | mode,
            _ => all,
        });
        let file = matches!(node.kind, Kind::File(_));
        Ok(match same {
            true if file && node.mode & SET_ID & !allowed != 0 => Verdict::Raised,
            true => Verdict::Same,
            false => Verdict::Problem("is not what its package brings".into()),
        })
    }

    /// What no package brings: overlays and the agent as the manifest says, and the rest.
    fn others(
        &self,
        known: &BTreeSet<Vec<u8>>,
        overlay: &BTreeMap<String, Option<String>>,
        findings: &mut Findings,
    ) -> Result<(), Error> {
        for (path, digest) in overlay {
            let node = self.nodes.get(path.as_bytes());
            let Some(node) = node.filter(|node| matches!(node.kind, Kind::File(_))) else {
                findings.problem(path, "is not there, and belongs to the image");
                continue;
            };
            if let Some(digest) = digest
                && hex::encode(self.digest(node)?) != *digest
            {
                findings.problem(path, "is not what the manifest says");
            }
        }
        for (path, node) in self.nodes {
            let text = String::from_utf8_lossy(path).into_owned();
            if known.contains(path) || overlay.contains_key(&text) {
                continue;
            }
            if let Kind::File(_) = node.kind {
                let privileged = node.xattrs.contains_key("security.capability");
                if node.mode & SET_ID != 0 || privileged {
                    findings.problem(&text, "is privileged, and no package brings it");
                }
                findings.made.push(format!("/{text}"));
            }
        }
        Ok(())
    }

    pub(super) fn digest(&self, node: &Node) -> Result<[u8; 32], Error> {
        let mut hasher = Sha256::new();
        self.root
            .content(node.ino, &mut |part| hasher.update(part))
            .map_err(Error::io("cannot read", "the image"))?;
        Ok(hasher.finalize().into())
    }

    /// A text file of the image, empty when it is absent.
    fn text(&self, path: &str) -> Result<String, Error> {
        text(self.root, self.nodes, path).map_err(Error::io("cannot read", format!("/{path}")))
    }
}

enum Verdict {
    Same,
    Raised,
    /// It is what the image is about.
    Ours,
    Problem(String),
}

impl Findings {
    pub(super) fn problem(&mut self, subject: &str, what: &str) {
        let path = subject.contains('/');
        self.problems.push(Problem {
            subject: format!("{}{subject}", if path { "/" } else { "" }),
            what: what.to_owned(),
        });
    }
}

/// A file of an image by its path, links followed, if it is there.
pub fn file(
    root: &Reader,
    nodes: &BTreeMap<Vec<u8>, Node>,
    path: &str,
) -> io::Result<Option<Vec<u8>>> {
    let mut path = canonical(path.trim_start_matches('/'));
    for _ in 0..LINKS {
        let Some(node) = nodes.get(path.as_bytes()) else {
            return Ok(None);
        };
        let Kind::Symlink(target) = &node.kind else {
            let mut bytes = Vec::new();
            root.content(node.ino, &mut |part| bytes.extend_from_slice(part))?;
            return Ok(Some(bytes));
        };
        let target = String::from_utf8_lossy(target);
        let above = path.rsplit_once('/').map_or("", |(above, _)| above);
        let joined = match target.starts_with('/') {
            true => target.into_owned(),
            false => format!("{above}/{target}"),
        };
        let mut parts: Vec<&str> = Vec::new();
        for part in joined.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        path = canonical(&parts.join("/"));
    }
    Ok(None)
}

/// A text file of an image, empty when it is absent.
pub fn text(root: &Reader, nodes: &BTreeMap<Vec<u8>, Node>, path: &str) -> io::Result<String> {
    let mut bytes = Vec::new();
    if let Some(node) = nodes.get(path.as_bytes()) {
        root.content(node.ino, &mut |part| bytes.extend_from_slice(part))?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The path that something lands on, what it is, and whether images do without it.
type Landed = (String, Shipped, bool);

/// What a package brings, directories left out.
fn files(
    store: &Store,
    package: &Package,
    diversions: &Diversions,
    exclude: &Exclude,
) -> Result<Vec<Landed>, Error> {
    let key = package.key();
    let damaged = |error: io::Error| Error::Package {
        package: key.clone(),
        reason: deb::truncated("data.tar", &error),
    };
    let file = store.verified(package)?;
    deb::data(&key, file, deb::LARGEST, |tar| {
        let mut found: Vec<Landed> = Vec::new();
        let mut by_member: BTreeMap<String, Shipped> = BTreeMap::new();
        tar.each(|entry| {
            let member = match Member::read(entry, 0) {
                Ok(Some(member)) => member,
                Ok(None) => return Ok(()),
                Err(error) => return Err(damaged(io::Error::other(error.to_string()))),
            };
            let shipped = match &member.kind {
                member::Kind::Directory | member::Kind::Device => return Ok(()),
                member::Kind::File => {
                    let mut hasher = Sha256::new();
                    let mut buffer = vec![0; 64 * 1024];
                    loop {
                        let read = entry.read(&mut buffer).map_err(damaged)?;
                        if read == 0 {
                            break;
                        }
                        hasher.update(&buffer[..read]);
                    }
                    Shipped::File {
                        digest: hasher.finalize().into(),
                        mode: member.meta.mode,
                    }
                }
                member::Kind::Symlink(target) => {
                    Shipped::Symlink(target.as_os_str().as_bytes().to_vec())
                }
                member::Kind::HardLink(of, _) => {
                    by_member.get(of).cloned().unwrap_or(Shipped::Other)
                }
                member::Kind::Fifo => Shipped::Other,
            };
            by_member.insert(member.path.clone(), shipped.clone());
            let listed = member.listed();
            let leads_on = matches!(member.kind, member::Kind::Symlink(_));
            let skipped = exclude.skips(&listed, leads_on);
            let landing = diversions.landing(&listed, &package.name);
            // `/bin` and its kin are links that a package may bring itself.
            let landing = match landing.trim_start_matches('/') {
                top if !top.contains('/') => top.to_owned(),
                below => canonical(below),
            };
            found.push((landing, shipped, skipped));
            Ok(())
        })?;
        Ok(found)
    })
}
