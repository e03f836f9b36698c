//! The boot loader, for BIOS and for UEFI machines.
//!
//! BIOS: GRUB's `boot.img` in the first sector, `core.img` in the BIOS boot partition. The
//! places that are patched are those that grub-bios-setup patches
//! (GRUB: `include/grub/i386/pc/boot.h`, `grub-core/boot/i386/pc/{boot,diskboot}.S`).
//!
//! UEFI: shim and GRUB as the distribution has signed them, on the ESP under the name that
//! firmware looks for on a disk it does not know (UEFI specification, §3.5.1.1 "Removable
//! Media Boot Behavior"). Both read one configuration and one environment, on the ESP too.

use super::error::Error;
use super::program::Programs;
use super::tree::{Content, Kind, Node, Tree};
use std::collections::BTreeMap;
use std::fs;
use std::io;

/// Bytes per sector.
pub const SECTOR: usize = 512;
/// In `boot.img`: LBA of the first sector of `core.img`.
const KERNEL_SECTOR: usize = 0x5c;
/// In `boot.img`: a jump that is replaced by two no-ops on hard disks, so that a BIOS which
/// reports a wrong drive number is not believed.
const DRIVE_CHECK: usize = 0x66;
/// Bytes of boot code before the disk signature and the partition table.
const BOOT_CODE: usize = 440;
/// In the first sector of `core.img`: LBA (8 bytes) and length in sectors (2 bytes) of the rest.
pub const BLOCK_LIST: usize = 0x1f4;

/// Modules in `core.img`: all that grub.cfg uses, so that the ESP holds none.
pub const MODULES: [&str; 16] = [
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

/// Where GRUB finds its configuration; it completes this with the disk it was started from.
pub const PREFIX: &str = "(,gpt2)/grub";

/// GRUB's code for the first sector.
const BOOT: &str = "/usr/lib/grub/i386-pc/boot.img";

/// A program that a distribution has signed: where it may be, the first that is there counts,
/// and its name on the ESP.
type Signed = (&'static [&'static str], &'static [u8]);

/// What the firmware starts, what that starts, and where a person enrols a key of their own.
/// Without the first an image boots from BIOS only.
///
/// Ubuntu keeps two versions of shim, of which an alternative chooses one, and its programs
/// beside shim are signed under their plain names; Debian's plain names are not signed.
const SIGNED: [Signed; 3] = [
    (
        &[
            "/usr/lib/shim/shimx64.efi.signed",
            "/usr/lib/shim/shimx64.efi.signed.latest",
        ],
        b"BOOTX64.EFI",
    ),
    (
        &["/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed"],
        b"grubx64.efi",
    ),
    (
        &["/usr/lib/shim/mmx64.efi.signed", "/usr/lib/shim/mmx64.efi"],
        b"mmx64.efi",
    ),
];

/// What the signed GRUB reads first, below the directory of its distribution.
const REDIRECTION: &str = "set prefix=($root)/grub\nconfigfile $prefix/grub.cfg\n";

/// Gives a file of a root by its path, if it is there.
pub type File<'a> = &'a dyn Fn(&str) -> io::Result<Option<Vec<u8>>>;

/// The boot loaders as the locked tree has and makes them.
#[derive(Debug, Clone, PartialEq)]
pub struct Loader {
    boot: Vec<u8>,
    core: Vec<u8>,
    /// Name on the ESP → program.
    signed: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Distribution, as the signed GRUB spells it.
    family: String,
}

impl Loader {
    /// Makes `core.img` with the tools of the root this process has entered, a base of this
    /// family, and takes the signed programs out of it.
    pub fn make(programs: &Programs, family: &str) -> Result<Loader, Error> {
        let core = "/tmp/core.img";
        let mut argv = vec!["/usr/bin/grub-mkimage", "-O", "i386-pc", "-o", core];
        argv.extend(["-p", PREFIX]);
        argv.extend(MODULES);
        programs.run("making the boot loader", &argv)?;
        let made = fs::read(core).map_err(Error::io("cannot read", core))?;
        Loader::found(made, family, &|path| match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        })
    }

    /// The boot loaders with this `core.img` and what else a root of this family has.
    pub fn found(core: Vec<u8>, family: &str, file: File) -> Result<Loader, Error> {
        let read = |path: &str| file(path).map_err(Error::io("cannot read", path));
        let mut signed = BTreeMap::new();
        for (paths, name) in SIGNED {
            for path in paths {
                if let Some(program) = read(path)? {
                    signed.insert(name.to_vec(), program);
                    break;
                }
            }
        }
        let boot = read(BOOT)?.ok_or_else(|| Error::Layout(format!("the root has no {BOOT}")))?;
        Ok(Loader {
            boot,
            core,
            signed,
            family: family.to_owned(),
        })
    }

    /// The tree of the ESP.
    pub fn esp(&self, configuration: &str, epoch: i64) -> Tree {
        let mut esp = Esp(Tree::empty(epoch));
        let grub = esp.directory(0, b"grub");
        esp.file(grub, b"grub.cfg", configuration.as_bytes());
        esp.file(grub, b"grubenv", &environment("a"));
        if !self.signed.is_empty() {
            let efi = esp.directory(0, b"EFI");
            let boot = esp.directory(efi, b"BOOT");
            for (name, program) in &self.signed {
                esp.file(boot, name, program);
            }
            let own = esp.directory(efi, self.family.as_bytes());
            esp.file(own, b"grub.cfg", REDIRECTION.as_bytes());
        }
        esp.0
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

/// The tree of an ESP as it grows.
struct Esp(Tree);

impl Esp {
    fn add(&mut self, above: usize, name: &[u8], mode: u32, kind: Kind) -> usize {
        let number = self.0.nodes.len();
        let node = Node {
            mode,
            kind,
            ..self.0.nodes[0].clone()
        };
        self.0.nodes.push(node);
        if let Kind::Directory(entries) = &mut self.0.nodes[above].kind {
            entries.insert(name.to_vec(), number);
        }
        number
    }

    fn directory(&mut self, above: usize, name: &[u8]) -> usize {
        self.add(above, name, 0o755, Kind::Directory(BTreeMap::new()))
    }

    fn file(&mut self, above: usize, name: &[u8], content: &[u8]) {
        let content = Content::Bytes(content.to_vec());
        self.add(above, name, 0o644, Kind::File(content));
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
            signed: BTreeMap::from([(b"BOOTX64.EFI".to_vec(), vec![0xcc; 7])]),
            family: "debian".into(),
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
    fn the_esp_holds_one_configuration_that_both_loaders_read() {
        let names = |loader: &Loader| {
            let tree = loader.esp("menu", 0);
            let mut names = Vec::new();
            for node in &tree.nodes {
                if let Kind::Directory(entries) = &node.kind {
                    names.extend(
                        entries
                            .keys()
                            .map(|name| String::from_utf8_lossy(name).into_owned()),
                    );
                }
            }
            names.join(" ")
        };
        let mut loader = loader();
        assert_eq!(
            names(&loader),
            "EFI grub grub.cfg grubenv BOOT debian BOOTX64.EFI grub.cfg"
        );
        loader.signed.clear();
        assert_eq!(names(&loader), "grub grub.cfg grubenv");
    }

    #[test]
    fn the_environment_is_one_block() {
        let block = environment("a");
        assert_eq!(block.len(), 1024);
        assert!(block.starts_with(b"# GRUB Environment Block\nslot=a\n###"));
    }
}
