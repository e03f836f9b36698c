//! A package whose maintainer script, as root, tries to get at the workstation that builds the
//! image: files, processes, devices, the kernel, the network, the terminal. It gets nothing. It
//! comes from the archive that a service brings.

use crate::archive::{Miniature, Suite};
use crate::cache::Cache;
use crate::deb::Deb;
use crate::key::Key;
use crate::ordinary::User;
use crate::site::MUSTER;
use muster::image::disk::image;
use muster::image::filesystem::ext4::read::Reader;
use muster::image::inspect::{root, text};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const POSTINST: &str = include_str!("../fixtures/hostile/postinst");
const BASE: &str = include_str!("../../profiles/bases/debian-12.toml");
const STACK: &str = "\
[stack]\nname = \"victim\"\nsummary = \"Takes a hostile package\"\nbase = \"debian-12\"\n\n\
[[role]]\nname = \"victim\"\nsummary = \"Nothing else\"\nmemory = 512\ncpus = 1\ndisk = 8192\n\
services = [\"hostile\"]\n\n\
[[phase]]\nname = \"first\"\ntitle = \"It runs\"\nservices = [\"hostile\"]\n";
const CANARY: &str = "the canary lives\n";
/// Attempts of the script.
const ATTEMPTS: usize = 28;

/// What the script is after.
struct Prey {
    folder: tempfile::TempDir,
    listener: TcpListener,
    process: Child,
}

impl Prey {
    fn new() -> Prey {
        let folder = tempfile::Builder::new()
            .prefix("muster-test-")
            .tempdir_in("/var/tmp");
        let prey = Prey {
            folder: folder.expect("a folder"),
            listener: TcpListener::bind("127.0.0.1:0").expect("a port"),
            process: Command::new("sleep").arg("600").spawn().expect("started"),
        };
        fs::write(prey.canary(), CANARY).expect("written");
        // Anybody may write to it.
        fs::set_permissions(prey.canary(), fs::Permissions::from_mode(0o666)).expect("opened");
        prey
    }

    fn canary(&self) -> PathBuf {
        self.folder.path().join("canary")
    }

    /// The script, with what it is after.
    fn script(&self) -> String {
        let disk = fs::metadata("/").expect("there").dev();
        let port = self.listener.local_addr().expect("its address").port();
        POSTINST
            .replace("@CANARY@", &self.canary().to_string_lossy())
            .replace("@PORT@", &port.to_string())
            .replace("@VICTIM@", &self.process.id().to_string())
            .replace(
                "@DISK@",
                &format!(
                    "{}, {}",
                    nix::sys::stat::major(disk),
                    nix::sys::stat::minor(disk)
                ),
            )
    }

    /// All of it is as it was.
    fn is_unharmed(&mut self) {
        let canary = fs::read_to_string(self.canary()).expect("readable");
        assert_eq!(canary, CANARY);
        let ended = self.process.try_wait().expect("asked");
        assert!(ended.is_none(), "the process was ended: {ended:?}");
        self.listener.set_nonblocking(true).expect("set");
        let called = self.listener.accept();
        assert!(called.is_err(), "somebody called: {called:?}");
    }
}

impl Drop for Prey {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Profiles with the package, in a folder; the archive that serves it.
fn profiles(folder: &Path, script: &str) -> Miniature {
    let control = "Package: hostile\nVersion: 1\nArchitecture: all\nMaintainer: nobody\n\
                   Description: takes what it gets\n";
    let mut deb = Deb::new(control);
    deb.put("postinst", 0o755, script);
    let mut archive = Miniature::new(Key::new());
    archive.packages.insert("hostile".into(), deb.write());
    archive.write(&Suite::new("mini", control));
    let service = format!(
        "[service]\nname = \"hostile\"\nsummary = \"Takes what it gets\"\n\n\
         [packages]\napt = [\"hostile\"]\n\n\
         [[archive]]\nname = \"mini\"\nmirror = \"{}\"\norigin = \"Mini\"\n\
         suites = [\"mini\"]\ncomponents = [\"main\"]\nfingerprints = [\"{}\"]\n\
         keys = \"keys/mini.asc\"\npackages = [\"hostile\"]\n",
        archive.url(),
        archive.key.fingerprint()
    );
    let write = |path: &str, text: &str| {
        let path = folder.join("profiles").join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    };
    write("bases/debian-12.toml", BASE);
    let keys = include_str!("../../profiles/bases/keys/debian-12.asc");
    write("bases/keys/debian-12.asc", keys);
    write("services/hostile.toml", &service);
    write("services/keys/mini.asc", &archive.key.armoured());
    write("stacks/victim/stack.toml", STACK);
    archive
}

/// Every attempt was made and refused.
fn was_refused(log: &Path) {
    let log = fs::read_to_string(log).expect("a log");
    let attempts: Vec<&str> = log
        .lines()
        .filter(|line| line.starts_with("ATTEMPT "))
        .collect();
    let succeeded: Vec<&&str> = attempts
        .iter()
        .filter(|line| !line.ends_with(": refused"))
        .collect();
    assert!(succeeded.is_empty(), "{succeeded:#?}");
    assert_eq!(attempts.len(), ATTEMPTS, "{attempts:#?}");
    assert!(log.contains("ATTEMPTS MADE"), "{log}");
}

/// What the package has left in its own image is told, and apt on the host knows where the
/// package came from.
fn knows_the_archive(folder: &Path, archive: &Miniature) {
    let verify = [
        "--profiles",
        "profiles",
        "verify-image",
        "out/victim/victim.raw",
    ];
    let said = Command::new(MUSTER)
        .args(verify)
        .current_dir(folder)
        .output()
        .expect("muster starts");
    let words = String::from_utf8_lossy(&said.stdout);
    let left = "/usr/local/bin/anybody-is-root is privileged, and no package brings it";
    assert!(!said.status.success() && words.contains(left), "{words}");
    let source = image::open(&folder.join("out/victim/victim.raw")).expect("an image");
    let part = root(&*source).expect("a root");
    let reader = Reader::open(&part).expect("ext4");
    let nodes = reader.walk().expect("a tree");
    let read = |path: &str| text(&reader, &nodes, path).expect("there");
    let sources = read("etc/apt/sources.list.d/mini.sources");
    assert!(
        sources.contains(&format!("URIs: {}\n", archive.url())),
        "{sources}"
    );
    assert_eq!(read("etc/apt/keyrings/mini.asc"), archive.key.armoured());
    let pins = read("etc/apt/preferences.d/mini.pref");
    assert!(pins.contains("Package: hostile\n"), "{pins}");
}

#[test]
fn a_hostile_package_does_not_touch_the_workstation() {
    let pattern = || fs::read_to_string("/proc/sys/kernel/core_pattern").expect("readable");
    let before = pattern();
    let mut prey = Prey::new();
    let root = tempfile::tempdir_in("/var/tmp").expect("a folder");
    let archive = profiles(root.path(), &prey.script());
    let cache = Cache::below(root.path());
    // With a terminal, and with a file that was left open.
    let mut build = Command::new("script");
    build
        .args(["--quiet", "--return", "--command"])
        .arg(format!(
            "exec {} --profiles profiles build victim --out out 9<{}",
            MUSTER,
            prey.canary().display()
        ))
        .arg("/dev/null")
        .current_dir(root.path())
        .envs(cache.variable())
        .stdin(Stdio::null());
    let said = build.output().expect("script starts");
    let text = String::from_utf8_lossy(&said.stdout);
    assert!(said.status.success(), "{text}");
    was_refused(&root.path().join("out/victim/victim.log"));
    prey.is_unharmed();
    assert_eq!(pattern(), before);
    // What it made setuid is out of the reach of everybody else.
    let layer = cache.layer_with("usr/local/bin/anybody-is-root");
    let layers = fs::metadata(layer.parent().expect("a folder")).expect("there");
    assert_eq!(layers.permissions().mode() & 0o777, 0o700);
    cache.says(&["cache", "verify"]);
    println!("[hostile] all {ATTEMPTS} attempts were refused");
    knows_the_archive(root.path(), &archive);

    let user = User::new();
    let copied = Command::new("cp")
        .args(["-r", "profiles", "victim"])
        .arg(user.home())
        .current_dir(root.path())
        .status();
    assert!(copied.expect("cp starts").success());
    let build = ["build", "victim", "--locked", "--offline", "--out", "out"];
    let build = [&["--profiles", "profiles"], &build[..]].concat();
    let said = user.command(&build).output().expect("muster starts");
    let text = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "{text}");
    was_refused(&user.home().join("out/victim/victim.log"));
    prey.is_unharmed();
    println!("[hostile] nor does it get further in a build without root");
}
