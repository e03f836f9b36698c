//! FAT16 and FAT32 written from a tree, for EFI system partitions and small media (Microsoft's
//! FAT specification 1.03). Every file is one run of clusters; every time is 1980-01-01.

mod name;
mod volume;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use name::Named;
use volume::Volume;

use super::{BlockSink, Filesystem, FilesystemError};
use crate::image::tree::{Content, Kind, Node, Tree};

const FORMAT: &str = "FAT";
const SECTOR: u64 = 512;
const ENTRY: usize = 32;
/// Bytes of a file read and written at once.
const CHUNK: u64 = 1 << 20;

const LABEL: u8 = 0x08;
const DIRECTORY: u8 = 0x10;
const ARCHIVE: u8 = 0x20;
/// 1980-01-01, the first day that FAT knows.
const DATE: u16 = 0x0021;

/// Parameters of a FAT filesystem. Owners and permissions of a tree have no place in it;
/// links, devices and extended attributes are refused, a second name of a file is a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fat {
    /// Volume label, 11 letters or digits at most; stored in capitals.
    pub label: String,
    /// Serial number of the volume.
    pub volume_id: u32,
}

impl Filesystem for Fat {
    fn minimum_size(&self, tree: &Tree) -> Result<u64, FilesystemError> {
        self.padded_label()?;
        Ok(Volume::least(&demand(tree)?)?.size())
    }

    fn write(&self, tree: &Tree, size: u64, out: &dyn BlockSink) -> Result<(), FilesystemError> {
        let label = self.padded_label()?;
        let demand = demand(tree)?;
        let volume = match Volume::new(size).filter(|volume| volume.holds(&demand)) {
            Some(volume) => volume,
            None => {
                // A little more can mean larger clusters, of which fewer files fit.
                let least = Volume::least(&demand)?;
                if least.size() > size {
                    let needed = least.size();
                    return Err(FilesystemError::TooSmall {
                        format: FORMAT,
                        size,
                        needed,
                    });
                }
                least
            }
        };
        let mut writer = Writer {
            tree,
            volume: &volume,
            out,
            label,
            chain: Vec::new(),
        };
        writer.directory(0, None)?;
        let Writer { chain, .. } = writer;
        volume
            .write(&chain, &label, self.volume_id, out)
            .map_err(FilesystemError::Write)
    }
}

impl Fat {
    fn padded_label(&self) -> Result<[u8; 11], FilesystemError> {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b" -_".contains(&byte);
        if self.label.is_empty() || self.label.len() > 11 || !self.label.bytes().all(letter) {
            let what = format!(
                "the label `{}` is not 1 to 11 letters or digits",
                self.label
            );
            return Err(FilesystemError::Parameter {
                format: FORMAT,
                what,
            });
        }
        let mut bytes = [b' '; 11];
        bytes[..self.label.len()].copy_from_slice(self.label.to_ascii_uppercase().as_bytes());
        Ok(bytes)
    }
}

/// Bytes of everything that takes clusters.
struct Demand {
    /// The root directory, which has a fixed place in FAT16.
    root: u64,
    /// All other directories and the files.
    others: Vec<u64>,
}

fn demand(tree: &Tree) -> Result<Demand, FilesystemError> {
    let mut demand = Demand {
        root: 0,
        others: Vec::new(),
    };
    demand.root = visit(tree, 0, "", &mut demand.others)?;
    Ok(demand)
}

/// Adds what lies below a directory and returns the bytes of the directory itself.
fn visit(
    tree: &Tree,
    index: usize,
    path: &str,
    others: &mut Vec<u64>,
) -> Result<u64, FilesystemError> {
    let refuse = |path: &str, reason: &str| FilesystemError::Node {
        path: if path.is_empty() {
            "/".into()
        } else {
            path.into()
        },
        reason: reason.into(),
    };
    let Some(Node {
        kind: Kind::Directory(entries),
        ..
    }) = tree.nodes.get(index)
    else {
        return Err(refuse(path, "the root of a tree must be a directory"));
    };
    let names = name::all(entries).map_err(|(name, reason)| {
        refuse(&format!("{path}/{}", String::from_utf8_lossy(name)), reason)
    })?;
    for named in &names {
        let child = format!("{path}/{}", named.long);
        let Some(node) = tree.nodes.get(named.node) else {
            return Err(refuse(&child, "the tree lacks its node"));
        };
        if !node.xattrs.is_empty() {
            return Err(refuse(&child, "FAT holds no extended attributes"));
        }
        let bytes = match &node.kind {
            Kind::Directory(_) => visit(tree, named.node, &child, others)?,
            Kind::File(content) => content_size(content),
            _ => return Err(refuse(&child, "FAT holds only files and directories")),
        };
        if bytes > u64::from(u32::MAX) {
            return Err(refuse(&child, "FAT holds files below 4 GiB"));
        }
        others.push(bytes);
    }
    Ok(directory_size(&names))
}

/// A label or `.` and `..`, then the names.
fn directory_size(names: &[Named]) -> u64 {
    (2 + names.iter().map(Named::entries).sum::<usize>() as u64) * ENTRY as u64
}

fn content_size(content: &Content) -> u64 {
    match content {
        Content::Bytes(bytes) => bytes.len() as u64,
        Content::Path { size, .. } => *size,
    }
}

struct Writer<'a> {
    tree: &'a Tree,
    volume: &'a Volume,
    out: &'a dyn BlockSink,
    label: [u8; 11],
    /// Clusters of each run, in order: the table follows from them.
    chain: Vec<u32>,
}

impl Writer<'_> {
    /// Takes clusters for this many bytes; no cluster (0) for none.
    fn take(&mut self, bytes: u64) -> u32 {
        let first = volume::FIRST_CLUSTER + self.chain.iter().sum::<u32>();
        match bytes.div_ceil(self.volume.cluster) as u32 {
            0 => 0,
            count => {
                self.chain.push(count);
                first
            }
        }
    }

    /// Writes a directory and all below it; returns its first cluster.
    fn directory(&mut self, index: usize, parent: Option<u32>) -> Result<u32, FilesystemError> {
        let tree = self.tree;
        let Kind::Directory(entries) = &tree.nodes[index].kind else {
            return Ok(0);
        };
        let names = name::all(entries).unwrap_or_default();
        let fixed_root = parent.is_none() && !self.volume.wide;
        let own = if fixed_root {
            0
        } else {
            self.take(directory_size(&names))
        };
        let mut bytes = Vec::new();
        match parent {
            None => entry(&mut bytes, &self.label, LABEL, 0, 0),
            Some(parent) => {
                entry(&mut bytes, b".          ", DIRECTORY, own, 0);
                entry(&mut bytes, b"..         ", DIRECTORY, parent, 0);
            }
        }
        // A root directory is named 0 by its children even where it has clusters.
        let as_parent = if parent.is_none() { 0 } else { own };
        for named in &names {
            named.long_entries(&mut bytes);
            match &tree.nodes[named.node].kind {
                Kind::Directory(_) => {
                    let first = self.directory(named.node, Some(as_parent))?;
                    entry(&mut bytes, &named.short, DIRECTORY, first, 0);
                }
                Kind::File(content) => {
                    let size = content_size(content);
                    let first = self.take(size);
                    self.file(content, size, first)?;
                    entry(&mut bytes, &named.short, ARCHIVE, first, size as u32);
                }
                _ => {}
            }
        }
        let place = if fixed_root {
            self.volume.root_start()
        } else {
            self.volume.place(own)
        };
        self.out
            .write_sparse(place, &bytes)
            .map_err(FilesystemError::Write)?;
        Ok(own)
    }

    fn file(&self, content: &Content, size: u64, first: u32) -> Result<(), FilesystemError> {
        let place = self.volume.place(first);
        match content {
            Content::Bytes(bytes) => self
                .out
                .write_sparse(place, bytes)
                .map_err(FilesystemError::Write),
            Content::Path { path, .. } => {
                let failed = |source| FilesystemError::Read {
                    path: path.clone(),
                    source,
                };
                let file = File::open(path).map_err(failed)?;
                let found = file.metadata().map_err(failed)?.len();
                let changed = || FilesystemError::Changed {
                    path: path.clone(),
                    expected: size,
                    found,
                };
                if found != size {
                    return Err(changed());
                }
                let mut buffer = vec![0; CHUNK.min(size) as usize];
                for at in (0..size).step_by(CHUNK as usize) {
                    let part = &mut buffer[..CHUNK.min(size - at) as usize];
                    file.read_exact_at(part, at)
                        .map_err(|error| match error.kind() {
                            io::ErrorKind::UnexpectedEof => changed(),
                            _ => failed(error),
                        })?;
                    self.out
                        .write_sparse(place + at, part)
                        .map_err(FilesystemError::Write)?;
                }
                Ok(())
            }
        }
    }
}

/// Appends one directory entry.
fn entry(into: &mut Vec<u8>, short: &[u8; 11], attributes: u8, cluster: u32, size: u32) {
    let mut record = [0; ENTRY];
    record[..11].copy_from_slice(short);
    record[11] = attributes;
    for at in [16, 18, 24] {
        record[at..at + 2].copy_from_slice(&DATE.to_le_bytes());
    }
    let cluster = cluster.to_le_bytes();
    record[20..22].copy_from_slice(&cluster[2..]);
    record[26..28].copy_from_slice(&cluster[..2]);
    record[28..32].copy_from_slice(&size.to_le_bytes());
    into.extend_from_slice(&record);
}

/// Names of a directory in a tree.
type Entries = BTreeMap<Vec<u8>, usize>;
