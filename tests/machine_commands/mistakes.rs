//! Machines that are not as `up` left them, and options that come too late: what is said, and
//! that nothing of what a machine has stored is lost.

use crate::workstation::{STACK, Workstation};
use muster::machine::qemu::qmp::Qmp;
use nix::fcntl::{FcntlArg, FdFlag};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

impl Workstation {
    fn place(&self, file: &str) -> PathBuf {
        self.folder().join("box").join(file)
    }

    /// Exit code and what is said of `muster WORDS…`, on one line, with `[box]` for the folder
    /// of the machine.
    fn says_to(&self, words: &[&str]) -> (i32, String) {
        let (code, _, said) = self.run(words);
        let parts = said.lines().map(|part| part.trim_matches([' ', '│']));
        let line = parts.collect::<Vec<_>>().join(" ");
        let place = self.folder().join("box").to_string_lossy().into_owned();
        let line = line.replace(&place, "[box]");
        let here = self.dir.path().to_string_lossy().into_owned();
        (code, line.trim_end().replace(&here, "[here]"))
    }

    fn has_told_its_host_key(&self) {
        let key = format!("ssh-ed25519 {}", "A".repeat(68));
        let event = serde_json::json!({ "event": "ssh-host-key", "key": key });
        fs::write(self.place("events.jsonl"), format!("{event}\n")).unwrap();
    }

    /// A machine that was up and is down.
    fn was_up(&self) {
        self.up();
        assert_eq!(self.run(&["down", "tiny"]).0, 0);
    }
}

#[test]
fn a_machine_with_a_part_missing_is_not_started_and_its_other_parts_stay() {
    let here = Workstation::new();
    here.was_up();
    let kept = here.dir.path().join("kept");
    let up = ["up", STACK, "--accel", "tcg"];
    let anew = "or start anew, without what the machine has stored: muster down tiny --purge && \
                muster up tiny";
    for (file, words) in [
        (
            "disk.qcow2",
            format!(
                "× the disk of box is gone: [box]/disk.qcow2 does not exist help: bring that \
                 file back; {anew}"
            ),
        ),
        (
            "image.raw",
            format!(
                "× the image under the disk of box is gone: [box]/image.raw does not exist \
                 help: bring that file back; {anew}"
            ),
        ),
    ] {
        fs::rename(here.place(file), &kept).unwrap();
        assert_eq!(here.says_to(&up), (1, words));
        fs::rename(&kept, here.place(file)).unwrap();
    }
    fs::copy(here.place("image.raw"), &kept).unwrap();
    fs::remove_file(here.place("image.raw")).unwrap();
    fs::copy(&kept, here.place("image.raw")).unwrap();
    assert_eq!(
        here.says_to(&up),
        (
            1,
            format!(
                "× the image of box was changed under its disk: [box]/image.raw help: bring the \
                 old file back; {anew}"
            )
        )
    );
}

#[test]
fn a_damaged_record_is_named_and_hides_no_other_machine() {
    let here = Workstation::new();
    here.was_up();
    let record = fs::read_to_string(here.place("machine.json")).unwrap();
    let other = here.dir.path().join("muster/other/box");
    fs::create_dir_all(&other).unwrap();
    let theirs = record.replace("\"tiny\"", "\"other\"");
    fs::write(other.join("machine.json"), theirs).unwrap();
    fs::write(here.place("machine.json"), "{\"version\": 1,").unwrap();
    let damaged = "× [box]/machine.json is damaged: EOF while parsing a value at line 1 column \
                   14 help: bring it back from a backup; or give the machines up, with all they \
                   have stored: muster down tiny --purge";
    for words in [&["down", "tiny"][..], &["ssh", "tiny"], &["up", STACK]] {
        assert_eq!(here.says_to(words), (1, damaged.into()), "{words:?}");
    }
    let (code, listed, said) = here.run(&["ps"]);
    assert_eq!(code, 1);
    assert!(listed.starts_with("other/box  stopped\n"), "{listed}");
    assert!(said.contains("is damaged"), "{said}");

    let newer = record.replace("\"version\": 1", "\"version\": 2");
    fs::write(here.place("machine.json"), newer).unwrap();
    assert_eq!(
        here.says_to(&["up", STACK]),
        (
            1,
            "× [box]/machine.json has format version 2, made by another muster: this one reads \
             version 1 help: use the muster that made it; its machines run on meanwhile"
                .into()
        )
    );
}

#[test]
fn a_disk_that_was_used_is_not_replaced_because_its_record_is_gone() {
    let here = Workstation::new();
    here.was_up();
    fs::remove_file(here.place("machine.json")).unwrap();
    // The guest of one sector never writes; QEMU would let the file grow like this.
    let disk = fs::OpenOptions::new()
        .write(true)
        .open(here.place("disk.qcow2"))
        .unwrap();
    let length = disk.metadata().unwrap().len();
    disk.set_len(length + (1 << 16)).unwrap();
    let up = ["up", STACK, "--accel", "tcg"];
    assert_eq!(
        here.says_to(&up),
        (
            1,
            "× [box]/disk.qcow2 holds what a machine has stored, and the record of that machine \
             is gone help: bring machine.json back beside it; or start anew, without what it \
             stored: muster down tiny --purge && muster up tiny"
                .into()
        )
    );
    assert_eq!(disk.metadata().unwrap().len(), length + (1 << 16));
    // One that nobody has written to is a leftover of an `up` that was stopped.
    disk.set_len(length).unwrap();
    let (code, said) = here.says_to(&up);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn purging_ends_a_machine_whose_record_is_damaged() {
    let here = Workstation::new();
    here.up();
    let process = PathBuf::from("/proc").join(here.row()["pid"].to_string());
    fs::write(here.place("machine.json"), "").unwrap();
    assert!(process.exists());
    let (code, said) = here.says_to(&["down", "tiny", "--purge", "--yes"]);
    assert_eq!((code, said.as_str()), (0, "deleted [here]/muster/tiny"));
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while process.exists() {
        assert!(
            std::time::Instant::now() < end,
            "it runs on without its disk"
        );
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn options_that_come_too_late_say_so() {
    let here = Workstation::new();
    here.up();
    let late = ["up", STACK, "--memory", "512", "--forward", "443=48443"];
    let (code, said) = here.says_to(&late);
    assert_eq!(code, 0);
    assert!(
        said.starts_with(
            "box runs already box takes --memory and --forward at its next start: muster down \
             tiny, then this command again "
        ),
        "{said}"
    );
    let (code, said) = here.says_to(&["up", STACK, "--base", "debian-13", "--disk", "1024"]);
    assert_eq!(code, 0);
    assert!(
        said.starts_with(
            "box: --base is for new machines; it keeps the disk it has box: --disk is for new \
             machines; it keeps the disk it has box runs already "
        ),
        "{said}"
    );
    assert_eq!(
        here.says_to(&["ssh", "tiny"]),
        (
            1,
            "× box has not told its ssh host key yet help: it does so at its first boot; watch \
             it with: muster console tiny box"
                .into()
        )
    );
    assert_eq!(
        here.says_to(&["console", "tiny", "bix"]),
        (
            1,
            "× tiny has no machine named bix help: its machines: box".into()
        )
    );
}

#[test]
fn an_image_that_is_not_whole_is_refused_before_it_boots() {
    let here = Workstation::new();
    let image = here.dir.path().join("out/tiny/box.raw");
    let up = ["up", STACK, "--accel", "tcg"];
    fs::write(&image, "").unwrap();
    let again = "help: make it again with: muster build tiny --role box";
    assert_eq!(
        here.says_to(&up),
        (
            1,
            format!("× out/tiny/box.raw is not a whole disk image: it is empty {again}")
        )
    );
    fs::write(&image, [7; 4096]).unwrap();
    let manifest = serde_json::json!({
        "version": 2, "stack": "tiny", "role": "box", "base": "debian-12", "image-id": "",
        "epoch": 0, "disk-size": 8192, "format": "raw", "partitions": [],
        "inputs": { "agent": "", "builder": "", "overlay": {}, "request": "", "packages": [] },
        "outputs": { "image": { "file": "box.raw", "size": 8192, "digest": "" } },
    });
    fs::write(
        image.with_file_name("box.manifest.json"),
        manifest.to_string(),
    )
    .unwrap();
    assert_eq!(
        here.says_to(&up),
        (
            1,
            format!(
                "× out/tiny/box.raw is not a whole disk image: it has 4096 bytes, and the \
                 manifest beside it says 8192 {again}"
            )
        )
    );
    // As if it was made before this computer was started, and never got to the disk.
    fs::write(&image, vec![0; 8192]).unwrap();
    for name in ["box.raw", "box.manifest.json"] {
        let file = fs::File::open(image.with_file_name(name)).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
    }
    assert_eq!(
        here.says_to(&up),
        (
            1,
            format!(
                "× out/tiny/box.raw is not a whole disk image: its content is not what the \
                 manifest beside it says; the power may have failed before all of it was on the \
                 disk {again}"
            )
        )
    );
    fs::write(&image, vec![7; 9 << 20]).unwrap();
    fs::remove_file(image.with_file_name("box.manifest.json")).unwrap();
    assert_eq!(
        here.says_to(&["up", STACK, "--accel", "tcg", "--disk", "4"]),
        (
            1,
            "× a disk of 4 MiB is smaller than the image of box, which has 9 MiB help: leave \
             --disk away, or ask for 9 or more"
                .into()
        )
    );
    assert!(!here.place("disk.qcow2").exists());
}

#[test]
fn a_port_that_somebody_has_is_named_with_the_way_round() {
    let here = Workstation::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let forward = format!("443={port}");
    let (code, said) = here.says_to(&["up", STACK, "--accel", "tcg", "--forward", &forward]);
    assert_eq!(
        (code, said),
        (
            1,
            format!(
                "× port {port} on 127.0.0.1, which leads to port 443 of box, is taken help: see \
                 who has it: ss -ltnp 'sport = :{port}'; or move it: muster up tiny --forward \
                 443=PORT"
            )
        )
    );
    assert_eq!(here.row()["condition"], "stopped");
}

#[test]
fn two_at_a_time_are_kept_apart() {
    let here = Workstation::new();
    fs::create_dir_all(here.folder()).unwrap();
    let lock = fs::File::create(here.folder().join(".lock")).unwrap();
    let held = nix::fcntl::Flock::lock(lock, nix::fcntl::FlockArg::LockExclusive).unwrap();
    assert_eq!(
        here.says_to(&["up", STACK, "--accel", "tcg"]),
        (
            1,
            "× another muster is starting or stopping the machines of tiny help: wait for it to \
             end, then try again; muster ps tiny shows how far it is"
                .into()
        )
    );
    drop(held);
}

#[test]
fn a_site_that_has_begun_takes_no_other_answers() {
    let here = Workstation::new();
    here.was_up();
    let kept = here.folder().join("answers.toml");
    let answers = here.dir.path().join("answers.toml");
    fs::copy(&kept, &answers).unwrap();
    let events = here.place("events.jsonl");
    fs::write(&events, "{\"event\":\"phase\",\"name\":\"hello\"}\n").unwrap();
    let up = ["up", STACK, "--accel", "tcg", "--answers", "answers.toml"];
    let (code, said) = here.says_to(&up);
    assert_eq!(code, 0, "the same answers are none others: {said}");
    assert_eq!(here.run(&["down", "tiny"]).0, 0);

    let before = fs::read_to_string(&kept).unwrap();
    fs::write(&answers, before.replace("Ada Admin", "Somebody Else")).unwrap();
    assert_eq!(
        here.says_to(&up),
        (
            1,
            "× tiny has begun with other answers, which stay help: start it without --answers, \
             and change an answer on its host: sudo muster setup; or begin anew: muster down tiny \
             --purge --yes"
                .into()
        )
    );
    assert_eq!(fs::read_to_string(&kept).unwrap(), before);
    assert_eq!(here.row()["condition"], "stopped");

    // Nobody has answered yet: these count.
    fs::remove_file(&events).unwrap();
    let (code, said) = here.says_to(&up);
    assert_eq!(code, 0, "{said}");
    assert!(fs::read_to_string(&kept).unwrap().contains("Somebody Else"));
}

#[test]
fn without_an_ssh_client_the_package_that_has_it_is_named() {
    let here = Workstation::new();
    here.up();
    here.has_told_its_host_key();
    for words in [
        &["ssh", "tiny"][..],
        &["status", "tiny"],
        &["verify", "tiny"],
    ] {
        let output = here
            .muster(words)
            .env("PATH", "/nonexistent")
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert_eq!(
            said.split_whitespace().collect::<Vec<_>>().join(" "),
            "× ssh is not installed help: it is in the package openssh-client: apt install \
             openssh-client"
        );
    }
}

#[test]
fn a_guest_that_no_ssh_reaches_is_named_with_its_console() {
    let here = Workstation::new();
    here.up();
    here.has_told_its_host_key();
    // The guest has no server; nobody listens where its record now says that it has one.
    let record = here.place("machine.json");
    let mut machine: serde_json::Value =
        serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = listener.local_addr().unwrap().port();
    drop(listener);
    for forward in machine["forwards"].as_array_mut().unwrap() {
        if forward["guest"] == 22 {
            forward["host"] = closed.into();
        }
    }
    fs::write(&record, machine.to_string()).unwrap();
    let (code, said) = here.says_to(&["status", "tiny"]);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.ends_with(
            "× box could not be reached over ssh help: watch it with: muster console tiny"
        ),
        "{said}"
    );
}

#[test]
fn a_paused_machine_goes_on_and_one_that_stays_up_is_cut_with_a_warning() {
    let here = Workstation::new();
    here.up();
    let mut qemu = Qmp::connect(&here.place("qmp.sock"), Duration::from_secs(30)).unwrap();
    qemu.execute("stop").unwrap();
    drop(qemu);
    assert_eq!(here.row()["condition"], "paused");
    let (code, said) = here.says_to(&["up", STACK]);
    assert_eq!(code, 0, "{said}");
    assert!(said.starts_with("box had paused and goes on"), "{said}");
    assert_eq!(here.row()["condition"], "running");
    assert_eq!(
        here.says_to(&["down", "tiny", "--grace", "0"]),
        (
            0,
            "shutting down tiny warning: box did not shut down within 0 s; its power was cut"
                .into()
        )
    );
}

#[test]
fn an_image_built_after_the_machine_is_named_and_its_disk_stays() {
    let here = Workstation::new();
    here.was_up();
    let image = here.dir.path().join("out/tiny/box.raw");
    let newer = here.dir.path().join("newer");
    fs::copy(&image, &newer).unwrap();
    fs::rename(&newer, &image).unwrap();
    let (code, said) = here.says_to(&["up", STACK, "--accel", "tcg"]);
    assert_eq!(code, 0, "{said}");
    assert!(
        said.starts_with(
            "box: a newer image is there; its disk stays on the old box is started with the disk \
             it had"
        ),
        "{said}"
    );
}

#[test]
fn an_image_of_before_the_description_was_changed_is_named_and_started() {
    let here = Workstation::new();
    let stack = here.dir.path().join("tiny");
    fs::create_dir_all(stack.join("services")).unwrap();
    for file in ["stack.toml", "services/hello.toml"] {
        fs::copy(Path::new(STACK).join(file), stack.join(file)).unwrap();
    }
    // Of what the stack asked for before.
    let lock = "version = 1\nstack = \"tiny\"\nrequest = \"0\"\n[roles]\n";
    fs::write(stack.join("muster.lock"), lock).unwrap();
    let (code, _, said) = here.starts("./tiny");
    assert_eq!(code, 0, "{said}");
    assert!(
        said.starts_with(
            "box: out/tiny/box.raw is not what would be built now; to have that: muster build \
             ./tiny\nbox is started (tcg: asked for)\n"
        ),
        "{said}"
    );
}

#[test]
fn nobody_is_asked_where_the_question_would_not_be_seen() {
    let here = Workstation::new();
    here.was_up();
    // A terminal to answer on, and a log for what is said.
    let terminal = nix::pty::openpty(None, None).unwrap();
    let output = std::process::Command::new(assert_cmd::cargo::cargo_bin("muster"))
        .current_dir(here.dir.path())
        .env("XDG_STATE_HOME", here.dir.path())
        .env("NO_COLOR", "1")
        .args(["down", "tiny", "--purge"])
        .stdin(terminal.slave)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("needs --yes"), "{said}");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(here.row()["condition"], "stopped");
}

#[test]
fn a_question_whose_terminal_goes_away_deletes_nothing() {
    let here = Workstation::new();
    here.was_up();
    // One terminal to answer on, another to read the question on.
    let (keys, screen) = (
        nix::pty::openpty(None, None).unwrap(),
        nix::pty::openpty(None, None).unwrap(),
    );
    // Who is asked must not hold the other ends open.
    for end in [&keys.master, &screen.master] {
        nix::fcntl::fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
    }
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("muster"))
        .current_dir(here.dir.path())
        .env("XDG_STATE_HOME", here.dir.path())
        .env("NO_COLOR", "1")
        .args(["down", "tiny", "--purge"])
        .stdin(keys.slave)
        .stderr(screen.slave)
        .spawn()
        .unwrap();
    let mut screen = std::fs::File::from(screen.master);
    let mut said = String::new();
    let mut reads_until = |words: &str| {
        while !said.contains(words) {
            let mut bytes = [0; 1024];
            let count = screen.read(&mut bytes).unwrap();
            said.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
    };
    reads_until("for good?");
    drop(keys.master);
    reads_until("nobody could be asked: ");
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(here.row()["condition"], "stopped");
}
