//! Binary packages taken apart and put together again, with members packed as Ubuntu packs them.

use md5::{Digest, Md5};
use std::io::{Cursor, Read};
use tar::{Archive, Builder, EntryType, Header};

/// A binary package in memory.
pub struct Deb {
    /// The control archive.
    pub control: Vec<Member>,
    /// The data archive.
    pub data: Vec<Member>,
}

/// One member of an archive.
#[derive(Clone)]
pub struct Member {
    header: Header,
    /// As it stands in the archive: `./usr/bin/x`.
    pub path: String,
    /// Where a link leads.
    pub link: Option<String>,
    /// What a file holds.
    pub content: Vec<u8>,
}

impl Member {
    /// A file of root's.
    pub fn file(path: &str, mode: u32, content: impl Into<Vec<u8>>) -> Member {
        let mut header = Header::new_gnu();
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_714_000_000);
        Member {
            header,
            path: path.into(),
            link: None,
            content: content.into(),
        }
    }

    fn is_file(&self) -> bool {
        self.header.entry_type().is_file()
    }

    /// A symbolic link.
    pub fn link(path: &str, to: &str) -> Member {
        let mut member = Member::file(path, 0o777, "");
        member.header.set_entry_type(EntryType::Symlink);
        member.link = Some(to.into());
        member
    }
}

impl Deb {
    /// Reads a package.
    pub fn read(bytes: &[u8]) -> Deb {
        let archives = archives(bytes);
        Deb {
            control: untar(&archives[0]),
            data: untar(&archives[1]),
        }
    }

    /// The same package with members of zstd, its archives untouched, and its control archive.
    pub fn repack(bytes: &[u8]) -> (Deb, Vec<u8>) {
        let archives = archives(bytes);
        let deb = Deb {
            control: untar(&archives[0]),
            data: Vec::new(),
        };
        (deb, pack(&archives))
    }

    /// A package that was never one of Debian's.
    pub fn new(paragraph: &str) -> Deb {
        Deb {
            control: vec![Member::file("./control", 0o644, paragraph)],
            data: Vec::new(),
        }
    }

    /// The text of a control file, empty when there is none.
    pub fn text(&self, name: &str) -> String {
        let path = format!("./{name}");
        let found = self.control.iter().find(|member| member.path == path);
        found.map_or_else(String::new, |member| {
            String::from_utf8(member.content.clone()).unwrap()
        })
    }

    /// A field of the control paragraph, empty when there is none.
    pub fn field(&self, name: &str) -> String {
        let start = format!("{name}: ");
        let text = self.text("control");
        let line = text.lines().find_map(|line| line.strip_prefix(&start));
        line.unwrap_or_default().to_owned()
    }

    /// Puts a control file in its place.
    pub fn put(&mut self, name: &str, mode: u32, content: &str) {
        let path = format!("./{name}");
        self.control.retain(|member| member.path != path);
        self.control.push(Member::file(&path, mode, content));
    }

    /// Sets a field of one line; without a value it goes.
    pub fn set(&mut self, name: &str, value: &str) {
        let start = format!("{name}:");
        let text = self.text("control");
        let mut lines: Vec<&str> = text.lines().filter(|l| !l.starts_with(&start)).collect();
        let line = format!("{start} {value}");
        if !value.is_empty() {
            lines.insert(1, &line);
        }
        self.put("control", 0o644, &(lines.join("\n") + "\n"));
    }

    /// The file at this path of the data archive.
    pub fn file(&mut self, path: &str) -> &mut Member {
        let found = self.data.iter_mut().find(|member| member.path == path);
        found.unwrap_or_else(|| panic!("there is no {path}"))
    }

    /// The bytes of the package: members of zstd, as dpkg makes them on Ubuntu.
    pub fn write(&self) -> Vec<u8> {
        let mut sums = String::new();
        for member in self.data.iter().filter(|member| member.is_file()) {
            let sum = hex::encode(Md5::digest(&member.content));
            sums += &format!("{sum}  {}\n", &member.path[2..]);
        }
        let control = self.control.iter();
        let mut control: Vec<Member> = control.filter(|m| m.path != "./md5sums").cloned().collect();
        control.push(Member::file("./md5sums", 0o644, sums));
        pack(&[tar(&control), tar(&self.data)])
    }
}

/// The control and the data archive of a package.
fn archives(bytes: &[u8]) -> [Vec<u8>; 2] {
    let members = members(bytes);
    ["control.tar", "data.tar"].map(|wanted| {
        let found = members.iter().find(|(name, _)| name.starts_with(wanted));
        let (name, content) = found.unwrap();
        unpack(name, content)
    })
}

fn pack([control, data]: &[Vec<u8>; 2]) -> Vec<u8> {
    let mut builder = ar::Builder::new(Vec::new());
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
    for (name, content) in [
        ("debian-binary", b"2.0\n".to_vec()),
        ("control.tar.zst", zstd(control)),
        ("data.tar.zst", zstd(data)),
    ] {
        let mut header = ar::Header::new(name.into(), content.len() as u64);
        header.set_mode(0o100_644);
        builder.append(&header, content.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn members(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = ar::Archive::new(bytes);
    let mut all = Vec::new();
    while let Some(entry) = archive.next_entry() {
        let mut entry = entry.unwrap();
        let name = String::from_utf8(entry.header().identifier().to_vec()).unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        all.push((name, content));
    }
    all
}

fn unpack(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    let mut reader: Box<dyn Read> = match name.rsplit_once('.').unwrap().1 {
        "xz" => Box::new(liblzma::read::XzDecoder::new(bytes)),
        "gz" => Box::new(flate2::read::GzDecoder::new(bytes)),
        "zst" => Box::new(zstd::Decoder::new(bytes).unwrap()),
        _ => Box::new(bytes),
    };
    reader.read_to_end(&mut content).unwrap();
    content
}

fn untar(bytes: &[u8]) -> Vec<Member> {
    let mut all = Vec::new();
    for entry in Archive::new(Cursor::new(bytes)).entries().unwrap() {
        let mut entry = entry.unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut member = Member {
            header: entry.header().clone(),
            path: text(&entry.path_bytes()),
            link: entry.link_name_bytes().map(|bytes| text(&bytes)),
            content: Vec::new(),
        };
        entry.read_to_end(&mut member.content).unwrap();
        all.push(member);
    }
    all
}

fn tar(members: &[Member]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for member in members {
        let mut header = member.header.clone();
        header.set_size(member.content.len() as u64);
        if member.path == "./" {
            header.set_cksum();
            builder.append(&header, member.content.as_slice()).unwrap();
        } else if let Some(link) = &member.link {
            builder
                .append_link(&mut header, &member.path, link)
                .unwrap();
        } else {
            let content = member.content.as_slice();
            builder
                .append_data(&mut header, &member.path, content)
                .unwrap();
        }
    }
    builder.into_inner().unwrap()
}
