//! What starts an image, and its other partitions: made again, from the verified root, and
//! compared byte by byte.
//!
//! Not everything can be: GRUB's `core.img`, in the BIOS boot partition, is taken apart instead.

use super::{Problem, core, partition};
use crate::image::assemble::Disk;
use crate::image::disk::gpt;
use crate::image::disk::image::{Part, Source};
use crate::image::error::Error;
use crate::image::filesystem::{BlockSink, Filesystem, is_zero};
use crate::image::grub::{File, Loader};
use crate::image::tree::Tree;
use rayon::prelude::*;
use std::io;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Bytes that are looked at at once.
const PIECE: u64 = 4 << 20;

/// What an image's identity, boot loader and empty partitions follow from.
#[derive(Debug)]
pub struct Origin<'a> {
    /// The image's id.
    pub image_id: &'a str,
    /// The image's time, seconds since 1970.
    pub epoch: i64,
    /// ID of os-release(5) of the base.
    pub family: &'a str,
    /// Text of `image/grub.cfg`.
    pub grub: &'a str,
}

/// Compares them. `file` gives a file of the root by its path, if it is there.
pub fn compare(source: &dyn Source, origin: &Origin, file: File) -> Result<Vec<Problem>, Error> {
    let read = || Error::io("cannot read", "the image");
    let part = |name: &str| partition(source, name).map_err(read());
    let mut problems = Vec::new();
    let mut problem = |subject: &str, what: String| {
        problems.push(Problem {
            subject: subject.to_owned(),
            what,
        });
    };
    let bios = part("bios")?;
    let mut start = vec![0; usize::try_from(bios.length).unwrap_or(0)];
    bios.read_at(0, &mut start).map_err(read())?;
    let end = start
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    start.truncate(end);
    if let Some(what) = core::wrong(&start, file)? {
        problem("the BIOS boot partition", what);
    }
    let loader = Loader::found(start.clone(), origin.family, file)?;
    let lba = bios.start / gpt::SECTOR;
    if loader.core_image(lba, bios.length)?.get(..end) != Some(&start[..]) {
        problem(
            "the BIOS boot partition",
            "does not say where GRUB goes on".into(),
        );
    }
    let code = loader.boot_code(lba)?;
    let mut first = vec![0; code.len()];
    source.read_at(0, &mut first).map_err(read())?;
    if first != code {
        problem(
            "the first sector",
            "is not GRUB's boot.img of the image".into(),
        );
    }
    let disk = Disk::known(source.size(), origin.image_id, origin.epoch);
    let empty = Tree::empty(origin.epoch);
    let esp = loader.esp(origin.grub, origin.epoch);
    let filesystems: [(&str, &dyn Filesystem, &Tree, &str); 2] = [
        (
            "esp",
            &disk.fat(),
            &esp,
            "is not shim, GRUB and their configuration alone, as packaged",
        ),
        ("data", &disk.ext4("data"), &empty, "is not empty"),
    ];
    for (name, format, tree, wrong) in filesystems {
        let part = part(name)?;
        let expected = Expected {
            part: &part,
            seen: Mutex::default(),
        };
        let made = format.write(tree, part.length, &expected);
        made.map_err(|error| Error::Layout(format!("the partition {name}: {error}")))?;
        if let Some(place) = expected.first_difference().map_err(read())? {
            problem(
                &format!("the partition {name}"),
                format!("{wrong}: byte {place} differs"),
            );
        }
    }
    let other = part("root-b")?;
    if let Some(place) = first_other_than_zero(&other, 0..other.length).map_err(read())? {
        problem(
            "the partition root-b",
            format!("is not empty: byte {place} is not 0"),
        );
    }
    Ok(problems)
}

/// A sink that compares what it is given with what is there.
struct Expected<'a> {
    part: &'a Part<'a>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    written: Vec<Range<u64>>,
    differs: Option<u64>,
}

impl BlockSink for Expected<'_> {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut found = vec![0; bytes.len()];
        self.part.read_at(offset, &mut found)?;
        let place = found
            .iter()
            .zip(bytes)
            .position(|(found, wanted)| found != wanted);
        let place = place.map(|place| offset + place as u64);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.written.push(offset..offset + bytes.len() as u64);
        seen.differs = [seen.differs, place].into_iter().flatten().min();
        Ok(())
    }
}

impl Expected<'_> {
    /// The first byte that is not as it was written, or not zero where nothing was.
    fn first_difference(self) -> io::Result<Option<u64>> {
        let Seen {
            mut written,
            differs,
        } = self
            .seen
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        written.sort_by_key(|range| range.start);
        let mut first = differs;
        let mut next = 0;
        let end = self.part.length..self.part.length;
        for range in written.into_iter().chain([end]) {
            if range.start > next {
                let found = first_other_than_zero(self.part, next..range.start)?;
                first = [first, found].into_iter().flatten().min();
            }
            next = next.max(range.end);
        }
        Ok(first)
    }
}

fn first_other_than_zero(part: &Part, range: Range<u64>) -> io::Result<Option<u64>> {
    let count = (range.end - range.start).div_ceil(PIECE);
    let pieces = (0..count).into_par_iter().map(|piece| {
        let start = range.start + piece * PIECE;
        let length = PIECE.min(range.end - start);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        part.read_at(start, &mut bytes)?;
        if is_zero(&bytes) {
            return Ok(None);
        }
        let place = bytes.iter().position(|byte| *byte != 0).unwrap_or(0);
        Ok(Some(start + place as u64))
    });
    let found = pieces.find_map_first(|found: io::Result<Option<u64>>| found.transpose());
    found.transpose()
}
