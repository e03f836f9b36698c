//! The disk of an image: partition table, boot loader and filesystems in their places.

use super::disk::gpt::{self, GptError, Guid, Table};
use super::disk::hashed::Hashed;
use super::disk::qcow2;
use super::error::Error;
use super::filesystem::ext4::Ext4;
use super::filesystem::fat::Fat;
use super::filesystem::{BlockSink, Filesystem, FilesystemError, Window};
use super::grub::Loader;
use super::identity::{parts, uuid};
use super::job::{Format, Job};
use super::layout::Partition;
use super::tree::Tree;
use std::fs::{File, OpenOptions};

/// Where a disk goes.
#[derive(Debug)]
pub struct Target<'a> {
    /// An empty file, or one of the disk's size that holds another disk.
    pub file: &'a File,
    /// The same, opened with `O_DIRECT`, where the filesystem can do that.
    pub direct: Option<&'a File>,
    /// The digests of the parts of the other disk.
    pub before: &'a [[u8; 32]],
}

/// The disk of one image before it is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Disk {
    /// Bytes.
    pub size: u64,
    /// Partitions in order.
    pub partitions: Vec<Partition>,
    image_id: String,
    epoch: i64,
}

impl Disk {
    /// Places the partitions of a role's disk.
    pub fn plan(job: &Job, image_id: &str) -> Result<Disk, Error> {
        let size = u64::from(job.role()?.disk);
        let id = |name: &str| Guid(uuid(image_id, &format!("partition {name}")));
        Ok(Disk {
            size: size << 20,
            partitions: job.layout.place(size, |name| id(name).to_string())?,
            image_id: image_id.to_owned(),
            epoch: job.epoch,
        })
    }

    /// A disk whose partitions stand elsewhere.
    pub fn known(size: u64, image_id: &str, epoch: i64) -> Disk {
        Disk {
            size,
            partitions: Vec::new(),
            image_id: image_id.to_owned(),
            epoch,
        }
    }

    /// Writes the disk into a file. The root filesystem's tree goes to `root-a`; `root-b` stays empty, and
    /// `data` gets a filesystem that the agent fills and grows at first boot. Returns the
    /// digests of the file's parts.
    pub fn write(
        &self,
        tree: &Tree,
        loader: &Loader,
        configuration: &str,
        format: Format,
        into: &Target<'_>,
    ) -> Result<Vec<[u8; 32]>, Error> {
        let out = into.file;
        let failed = || Error::io("cannot write", "the disk");
        match format.clusters() {
            None => {
                out.set_len(self.size).map_err(failed())?;
                let hashed = Hashed::new(out, into.direct, self.size, into.before);
                self.raw(tree, loader, configuration, &hashed)?;
                hashed.finish().map_err(failed())
            }
            Some(compression) => {
                // The root is gone from the outside, but not from this process: the raw disk
                // stands in it, out of the tree that was read from it before.
                let path = "/.muster-disk";
                let mut options = OpenOptions::new();
                let raw = options.create_new(true).read(true).write(true).open(path);
                let raw = raw.map_err(failed())?;
                std::fs::remove_file(path).map_err(failed())?;
                raw.set_len(self.size).map_err(failed())?;
                self.raw(tree, loader, configuration, &raw)?;
                qcow2::write(&raw, out, compression)
                    .and_then(|()| parts(out, |_| None))
                    .map_err(failed())
            }
        }
    }

    /// Writes it to where nothing but zeros is yet.
    fn raw(
        &self,
        tree: &Tree,
        loader: &Loader,
        configuration: &str,
        out: &dyn BlockSink,
    ) -> Result<(), Error> {
        let failed = || Error::io("cannot write", "the disk");
        let bios = self.partition("bios")?;
        let lba = bios.start / gpt::SECTOR;
        self.table()?
            .write(&loader.boot_code(lba)?, out)
            .map_err(|error| match error {
                GptError::Io(source) => failed()(source),
                other => Error::Layout(format!("the partition table: {other}")),
            })?;
        out.write_at(bios.start, &loader.core_image(lba, bios.size)?)
            .map_err(failed())?;
        let esp = loader.esp(configuration, self.epoch);
        self.filesystem(out, "esp", &self.fat(), &esp)?;
        self.filesystem(out, "root-a", &self.ext4("root-a"), tree)?;
        self.filesystem(out, "data", &self.ext4("data"), &Tree::empty(self.epoch))?;
        Ok(())
    }

    fn table(&self) -> Result<Table, Error> {
        let partitions = self.partitions.iter().map(|partition| {
            Ok(Some(gpt::Partition {
                name: partition.name.clone(),
                kind: partition.kind()?,
                id: Guid(uuid(
                    &self.image_id,
                    &format!("partition {}", partition.name),
                )),
                first: partition.start / gpt::SECTOR,
                last: (partition.start + partition.size) / gpt::SECTOR - 1,
                attributes: 0,
            }))
        });
        Ok(Table {
            id: Guid(uuid(&self.image_id, "disk")),
            size: self.size,
            partitions: partitions.collect::<Result<_, Error>>()?,
        })
    }

    /// The filesystem of the ESP.
    pub fn fat(&self) -> Fat {
        let id = uuid(&self.image_id, "filesystem esp");
        let volume_id = u32::from_le_bytes([id[0], id[1], id[2], id[3]]);
        Fat {
            label: "ESP".into(),
            volume_id,
        }
    }

    /// The filesystem of a partition.
    pub fn ext4(&self, name: &str) -> Ext4 {
        Ext4::new(
            name,
            uuid(&self.image_id, &format!("filesystem {name}")),
            self.epoch,
        )
    }

    fn filesystem(
        &self,
        out: &dyn BlockSink,
        name: &str,
        format: &dyn Filesystem,
        tree: &Tree,
    ) -> Result<(), Error> {
        let partition = self.partition(name)?;
        let window = Window {
            sink: out,
            start: partition.start,
            length: partition.size,
        };
        format
            .write(tree, partition.size, &window)
            .map_err(|error| told(name, error))
    }

    fn partition(&self, name: &str) -> Result<&Partition, Error> {
        let found = self
            .partitions
            .iter()
            .find(|partition| partition.name == name);
        found.ok_or_else(|| Error::Layout(format!("image/layout.toml has no partition {name}")))
    }
}

/// What a partition that could not be made means for the image.
fn told(name: &str, error: FilesystemError) -> Error {
    match error {
        FilesystemError::Write(source) => Error::io("cannot write", "the disk")(source),
        FilesystemError::Read { path, source } => Error::io("cannot read", path)(source),
        error @ FilesystemError::TooSmall { .. } => Error::Layout(format!(
            "the partition {name}: {error}; leave packages out of the role, or give it more in \
             image/layout.toml: --profiles DIR"
        )),
        error => Error::Layout(format!("the partition {name}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::tree::{Content, Kind, Node};

    /// Writes a tree with this one file to `/dev/full`.
    fn refused(content: Option<Content>, size: u64) -> (String, String) {
        let mut tree = Tree::empty(0);
        if let Some(content) = content {
            let node = Node {
                kind: Kind::File(content),
                ..tree.nodes[0].clone()
            };
            tree.nodes.push(node);
            if let Kind::Directory(names) = &mut tree.nodes[0].kind {
                names.insert(b"file".to_vec(), 1);
            }
        }
        let full = File::options().write(true).open("/dev/full");
        let full = full.expect("a full disk");
        let error = Ext4::new("data", [1; 16], 0).write(&tree, size, &full);
        let error = told("data", error.expect_err("refused"));
        (error.to_string(), error.hint())
    }

    #[test]
    fn a_partition_that_cannot_be_made_says_why_and_what_to_do() {
        assert_eq!(
            refused(None, 64 << 20),
            (
                "cannot write the disk: No space left on device (os error 28)".into(),
                "the disk is full: see where with df -h, make room and build again, which goes on \
                 from the cache; or build elsewhere with --out DIR"
                    .into()
            )
        );
        let gone = Content::Path {
            path: "/nonexistent".into(),
            size: 2 << 20,
        };
        assert_eq!(
            refused(Some(gone), 64 << 20).0,
            "cannot read /nonexistent: No such file or directory (os error 2)"
        );
        let (words, _) = refused(None, 1 << 20);
        assert!(
            words.starts_with(
                "the partition data: 1048576 bytes are too few for this tree, which needs "
            ) && words.ends_with(
                " bytes as ext4; leave packages out of the role, or give it more in \
                     image/layout.toml: --profiles DIR"
            ),
            "{words}"
        );
    }
}
