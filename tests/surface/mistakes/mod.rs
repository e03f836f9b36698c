//! What somebody gets to read who uses muster for the first time and slips: every answer in
//! its exact words, with its exit code. `INSTA_UPDATE=always` writes the snapshots anew; read
//! the difference as that person would before you commit it.

mod commands;
mod files;
mod mirrors;
mod people;
mod pipes;
mod site;

use crate::desk::Desk;
use std::path::Path;
use std::process::{Command, Output};

/// Command lines and what is said to each.
#[derive(Default)]
struct Walk(String);

impl Walk {
    /// Runs `muster WORDS…` and notes what is said; `why` is the mistake.
    fn takes(&mut self, desk: &Desk, why: &str, words: &[&str]) {
        let output = desk.muster(words).output().unwrap();
        self.notes(desk, why, &format!("muster {}", words.join(" ")), &output);
    }

    fn notes(&mut self, desk: &Desk, why: &str, command: &str, output: &Output) {
        let said = [&output.stdout[..], &output.stderr[..]].concat();
        let said = tight(&String::from_utf8_lossy(&said));
        let code = output.status.code().unwrap();
        let step = format!("# {why}\n$ {command}\n{said}[exit code {code}]\n\n");
        let here = desk.path().to_string_lossy();
        self.0 += &step.replace(&*here, "[here]");
    }
}

/// Without empty lines and blanks at line ends, which reports are generous with.
fn tight(said: &str) -> String {
    let lines = said.lines().map(str::trim_end);
    let lines = lines.filter(|line| !line.is_empty());
    lines.flat_map(|line| [line, "\n"]).collect()
}

impl Desk {
    /// Writes a file below this desk.
    fn file(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// A command around muster, in the surroundings of [`Desk::muster`].
    fn around(&self, program: &[&str], words: &[&str]) -> Command {
        let mut command = Command::new(program[0]);
        command
            .current_dir(self.path())
            .env("XDG_STATE_HOME", self.path())
            .env("XDG_CACHE_HOME", self.path().join("cache"))
            .env("NO_COLOR", "1")
            .stdin(std::process::Stdio::null())
            .args(&program[1..])
            .arg(self.program())
            .args(words);
        command
    }

    /// muster where any user may run it.
    fn program(&self) -> std::path::PathBuf {
        let path = self.path().join("bin/muster");
        if !path.exists() {
            std::fs::create_dir(self.path().join("bin")).unwrap();
            // Were it open for writing here, a test beside this one could start a program that
            // has it open too, and nobody could run it.
            let copied = std::process::Command::new("cp")
                .arg(assert_cmd::cargo::cargo_bin("muster"))
                .arg(&path)
                .status();
            assert!(copied.unwrap().success());
        }
        path
    }

    /// SHA-256 of the package of [`Desk::lock_one`].
    fn lock_digest(&self) -> String {
        let lock = muster::packages::lock::Lock::read(&self.path().join("one/muster.lock"));
        lock.unwrap().packages[0].sha256.clone()
    }

    fn there(&self, name: &str) -> bool {
        Path::new(self.path()).join(name).exists()
    }
}
