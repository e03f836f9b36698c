//! Where partitions stand on a disk, from `image/layout.toml`.

use super::disk::gpt::{ALIGNMENT, Guid};
use super::error::Error;
use serde::{Deserialize, Serialize};

/// The partitions of every disk, in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Layout {
    /// One table per partition.
    #[serde(rename = "partition")]
    pub partitions: Vec<Wanted>,
}

/// A partition as the layout asks for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Wanted {
    /// Partition label.
    pub name: String,
    /// GPT type.
    #[serde(rename = "type")]
    pub kind: String,
    /// MiB; absent for the last, which takes the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// A partition with its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Partition {
    /// Number, from 1.
    pub number: u32,
    /// Partition label.
    pub name: String,
    /// GPT type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Unique identity.
    pub id: String,
    /// Bytes from the start of the disk.
    pub start: u64,
    /// Bytes.
    pub size: u64,
}

impl Partition {
    /// Its type as a number.
    pub fn kind(&self) -> Result<Guid, Error> {
        let digits = self.kind.replace('-', "");
        let number = u128::from_str_radix(&digits, 16)
            .ok()
            .filter(|_| digits.len() == 32);
        number.map(Guid::from_u128).ok_or_else(|| {
            let (name, kind) = (&self.name, &self.kind);
            Error::Layout(format!(
                "image/layout.toml: the type of {name} is no GUID: `{kind}`"
            ))
        })
    }
}

impl Layout {
    /// Reads `layout.toml`.
    pub fn parse(text: &str) -> Result<Layout, Error> {
        let layout: Layout = toml::from_str(text)
            .map_err(|error| Error::Layout(format!("image/layout.toml: {error}")))?;
        let open = layout
            .partitions
            .iter()
            .filter(|wanted| wanted.size.is_none())
            .count();
        let last = layout
            .partitions
            .last()
            .is_some_and(|wanted| wanted.size.is_none());
        match (open, last) {
            (1, true) => Ok(layout),
            _ => Err(Error::Layout(
                "image/layout.toml: the last partition, and only that, is without a size".into(),
            )),
        }
    }

    /// Places the partitions on a disk of `disk` MiB. `id` gives each its identity.
    pub fn place(&self, disk: u64, id: impl Fn(&str) -> String) -> Result<Vec<Partition>, Error> {
        // One aligned block at each end holds the partition tables.
        let end = (disk << 20) - ALIGNMENT;
        let mut start = ALIGNMENT;
        let mut placed = Vec::new();
        for (number, wanted) in (1..).zip(&self.partitions) {
            let size = match wanted.size {
                Some(size) => size << 20,
                None => end.saturating_sub(start),
            };
            if size == 0 || start + size > end {
                return Err(Error::Layout(format!(
                    "a disk of {disk} MiB has no room for the partition {}",
                    wanted.name
                )));
            }
            placed.push(Partition {
                number,
                name: wanted.name.clone(),
                kind: wanted.kind.clone(),
                id: id(&wanted.name),
                start,
                size,
            });
            start += size;
        }
        Ok(placed)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const LAYOUT: &str = include_str!("../../image/layout.toml");

    #[test]
    fn the_last_partition_takes_the_rest() {
        let layout = Layout::parse(LAYOUT).unwrap();
        let placed = layout.place(8192, str::to_owned).unwrap();
        let names: Vec<&str> = placed.iter().map(|part| part.name.as_str()).collect();
        assert_eq!(names, ["bios", "esp", "root-a", "root-b", "data"]);
        assert_eq!(placed[0].start, 1 << 20);
        assert_eq!(placed[4].start + placed[4].size, 8191 << 20);
        for pair in placed.windows(2) {
            assert_eq!(pair[0].start + pair[0].size, pair[1].start);
        }
    }

    #[test]
    fn a_small_disk_is_refused_by_the_partition_that_does_not_fit() {
        let error = Layout::parse(LAYOUT)
            .unwrap()
            .place(4096, str::to_owned)
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "a disk of 4096 MiB has no room for the partition root-b"
        );
    }

    #[test]
    fn only_the_last_may_be_open() {
        let text = "[[partition]]\nname = \"a\"\ntype = \"x\"\nsize = 1\n";
        assert_eq!(
            Layout::parse(text).unwrap_err().to_string(),
            "image/layout.toml: the last partition, and only that, is without a size"
        );
    }
}
