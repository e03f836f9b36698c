//! Capabilities of files, which the kernel keeps in another form when root of a user namespace
//! sets them: images have them as root of the workstation would have set them.

use muster::image::disk::image;
use muster::image::filesystem::Filesystem;
use muster::image::filesystem::ext4::Ext4;
use muster::image::filesystem::ext4::read::Reader;
use muster::image::harvest::harvest;
use std::fs;
use std::path::Path;
use std::process::Command;

const NAME: &str = "security.capability";
/// `cap_net_raw+ep` (linux/capability.h, `vfs_cap_data` of revision 2).
const RAW: [u8; 20] = {
    let mut value = [0; 20];
    value[0] = 1;
    value[3] = 2;
    value[5] = 0x20;
    value
};

/// Sets a capability below a folder and writes the tree to an image.
fn make(folder: &Path) {
    let root = folder.join("root");
    fs::create_dir_all(&root).unwrap();
    fs::write(root.join("ping"), "program").unwrap();
    xattr::set(root.join("ping"), NAME, &RAW).unwrap();
    let tree = harvest(&root, 1_000_000_000).unwrap();
    let writer = Ext4::new("root", [1; 16], 1_000_000_000);
    let file = fs::File::create_new(folder.join("image")).unwrap();
    let size = 16 << 20;
    file.set_len(size).unwrap();
    writer.write(&tree, size, &file).unwrap();
}

#[test]
fn capabilities_that_root_of_a_namespace_sets_are_in_an_image_as_roots_own() {
    const INSIDE: &str = "MUSTER_TEST_CAPABILITIES";
    if let Some(folder) = std::env::var_os(INSIDE) {
        return make(Path::new(&folder));
    }
    let folder = tempfile::Builder::new()
        .prefix("muster-test-")
        .tempdir_in("/var/tmp")
        .unwrap();
    let name =
        "capabilities::capabilities_that_root_of_a_namespace_sets_are_in_an_image_as_roots_own";
    // Somebody without root, who is root in a namespace.
    let mut command = match nix::unistd::geteuid().is_root() {
        true => {
            let owner = Some(nix::unistd::Uid::from_raw(31_000));
            nix::unistd::chown(folder.path(), owner, None).unwrap();
            let mut command = Command::new("setpriv");
            command.args([
                "--reuid=31000",
                "--regid=31000",
                "--clear-groups",
                "unshare",
            ]);
            command
        }
        false => Command::new("unshare"),
    };
    // The binary of the tests may stand where nobody else may go.
    let binary = folder.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    let output = command
        .args(["--user", "--map-root-user"])
        .arg(&binary)
        .args(["--exact", name, "--test-threads", "1"])
        .env(INSIDE, folder.path())
        .env("TMPDIR", folder.path())
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let wrong = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("1 passed"), "{said}{wrong}");

    // On the disk of the workstation they are for that namespace alone.
    let kept = xattr::get(folder.path().join("root/ping"), NAME).unwrap();
    let kept = kept.unwrap();
    assert_eq!((kept.len(), kept[3]), (24, 3), "{kept:?}");
    let source = image::open(&folder.path().join("image")).unwrap();
    let reader = Reader::open(&*source).unwrap();
    let nodes = reader.walk().unwrap();
    assert_eq!(nodes[&b"ping"[..]].xattrs[NAME], RAW);
}
