//! What fuzzers found worth keeping, through the same checks. The fuzzers themselves need
//! another compiler and time: `tests/fuzz/run`.

#![allow(clippy::unwrap_used)]

mod checks;

use std::path::{Path, PathBuf};

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_file_of_every_corpus_holds() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
    let mut bytes = 0;
    for (name, check) in checks::ALL {
        let corpus = files(&home.join("corpus").join(name));
        assert!(!corpus.is_empty(), "no corpus of {name}");
        for file in corpus {
            let content = std::fs::read(&file).unwrap();
            bytes += content.len();
            // Shown when the check fails.
            println!("{}", file.display());
            check(&content);
        }
    }
    assert!(
        bytes < 200_000,
        "corpora are for minimised inputs: {bytes} bytes"
    );
}

#[test]
fn every_check_has_its_fuzzer() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
    let targets: Vec<String> = files(&home.join("targets"))
        .iter()
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    let checks: Vec<&str> = checks::ALL.iter().map(|(name, _)| *name).collect();
    assert_eq!(targets, checks);
}
