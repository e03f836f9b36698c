//! The boot loader for BIOS machines: GRUB's `boot.img` in the first sector, `core.img` in the
//! BIOS boot partition, configuration and environment on the ESP.
//!
//! The places that are patched are those that grub-bios-setup patches
//! (GRUB: `include/grub/i386/pc/boot.h`, `grub-core/boot/i386/pc/{boot,diskboot}.S`).

use super::error::Error;
use super::program::Programs;
use super::tree::{Content, Kind, Node, Tree};
use std::collections::BTreeMap;
use std::fs;

/// Bytes per sector.
const SECTOR: usize = 512;
/// In `boot.img`: LBA of the first sector of `core.img`.
const KERNEL_SECTOR: usize = 0x5c;
/// In `boot.img`: a jump that is replaced by two no-ops on hard disks, so that a BIOS which
/// reports a wrong drive number is not believed.
const DRIVE_CHECK: usize = 0x66;
/// Bytes of boot code before the disk signature and the partition table.
const BOOT_CODE: usize = 440;
/// In the first sector of `core.img`: LBA (8 bytes) and length in sectors (2 bytes) of the rest.
const BLOCK_LIST: usize = 0x1f4;

/// Modules in `core.img`: all that grub.cfg uses, so that the ESP holds none.
const MODULES: [&str; 16] = [
    "biosdisk",
    "part_gpt",
    "fat",
    "ext2",
    "normal",
    "configfile",
    "linux",
    "loadenv",
    "test",
    "regexp",
    "echo",
    "serial",
    "terminal",
    "minicmd",
    "reboot",
    "halt",
];

/// `boot.img` and `core.img` as the locked tree makes them.
#[derive(Debug, Clone, PartialEq)]
pub struct Loader {
    boot: Vec<u8>,
    core: Vec<u8>,
}

impl Loader {
    /// Makes `core.img` with the tools of the root this process has entered.
    pub fn make(programs: &Programs) -> Result<Loader, Error> {
        let core = "/tmp/core.img";
        // GRUB completes the prefix with the disk it was started from.
        let mut argv = vec!["/usr/bin/grub-mkimage", "-O", "i386-pc", "-o", core];
        argv.extend(["-p", "(,gpt2)/grub"]);
        argv.extend(MODULES);
        programs.run("making the boot loader", &argv)?;
        let boot = "/usr/lib/grub/i386-pc/boot.img";
        Ok(Loader {
            boot: fs::read(boot).map_err(Error::io("cannot read", boot))?,
            core: fs::read(core).map_err(Error::io("cannot read", core))?,
        })
    }

    /// Code for the first sector of a disk whose BIOS boot partition begins at `lba`.
    pub fn boot_code(&self, lba: u64) -> Result<Vec<u8>, Error> {
        if self.boot.len() != SECTOR {
            return Err(Error::Layout(
                "GRUB's boot.img is not one sector long".into(),
            ));
        }
        let mut code = self.boot[..BOOT_CODE].to_vec();
        code[KERNEL_SECTOR..KERNEL_SECTOR + 8].copy_from_slice(&lba.to_le_bytes());
        code[DRIVE_CHECK..DRIVE_CHECK + 2].copy_from_slice(&[0x90, 0x90]);
        Ok(code)
    }

    /// Content of a BIOS boot partition that begins at `lba` and is `size` bytes long.
    pub fn core_image(&self, lba: u64, size: u64) -> Result<Vec<u8>, Error> {
        let mut core = self.core.clone();
        core.resize(core.len().div_ceil(SECTOR) * SECTOR, 0);
        if core.len() as u64 > size || core.len() < 2 * SECTOR {
            let length = core.len();
            return Err(Error::Layout(format!(
                "GRUB's core.img has {length} bytes, the bios partition {size}"
            )));
        }
        let rest = u16::try_from(core.len() / SECTOR - 1)
            .map_err(|_| Error::Layout("GRUB's core.img is too long".into()))?;
        core[BLOCK_LIST..BLOCK_LIST + 8].copy_from_slice(&(lba + 1).to_le_bytes());
        core[BLOCK_LIST + 8..BLOCK_LIST + 10].copy_from_slice(&rest.to_le_bytes());
        Ok(core)
    }
}

/// The tree of the ESP.
pub fn esp(configuration: &str, epoch: i64) -> Tree {
    let node = |mode, kind| Node {
        mode,
        uid: 0,
        gid: 0,
        mtime: epoch,
        xattrs: BTreeMap::new(),
        kind,
    };
    let file = |bytes: &[u8]| node(0o644, Kind::File(Content::Bytes(bytes.to_vec())));
    let root = Kind::Directory(BTreeMap::from([(b"grub".to_vec(), 1)]));
    let grub = BTreeMap::from([(b"grub.cfg".to_vec(), 2), (b"grubenv".to_vec(), 3)]);
    Tree {
        nodes: vec![
            node(0o755, root),
            node(0o755, Kind::Directory(grub)),
            file(configuration.as_bytes()),
            file(&environment("a")),
        ],
    }
}

/// A GRUB environment block: 1024 bytes, filled up with `#`.
fn environment(slot: &str) -> Vec<u8> {
    let mut block = format!("# GRUB Environment Block\nslot={slot}\n").into_bytes();
    block.resize(1024, b'#');
    block
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn loader() -> Loader {
        Loader {
            boot: vec![0xaa; 512],
            core: vec![0xbb; 1500],
        }
    }

    #[test]
    fn the_first_sector_finds_the_core_image() {
        let code = loader().boot_code(2048).unwrap();
        assert_eq!(code.len(), 440);
        assert_eq!(code[0x5c..0x64], 2048u64.to_le_bytes());
        assert_eq!(code[0x64..0x69], [0xaa, 0xaa, 0x90, 0x90, 0xaa]);
    }

    #[test]
    fn the_core_image_finds_its_rest() {
        let core = loader().core_image(2048, 1 << 20).unwrap();
        assert_eq!(core.len(), 1536);
        assert_eq!(core[0x1f4..0x1fc], 2049u64.to_le_bytes());
        assert_eq!(core[0x1fc..0x1fe], [2, 0]);
    }

    #[test]
    fn a_partition_that_is_too_small_is_refused() {
        let error = loader().core_image(2048, 1024).unwrap_err();
        assert_eq!(
            error.to_string(),
            "GRUB's core.img has 1536 bytes, the bios partition 1024"
        );
    }

    #[test]
    fn the_environment_is_one_block() {
        let block = environment("a");
        assert_eq!(block.len(), 1024);
        assert!(block.starts_with(b"# GRUB Environment Block\nslot=a\n###"));
    }
}
