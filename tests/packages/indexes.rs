//! Indexes and packages that are not what was signed, and indexes that nobody can satisfy.

use crate::archive::{Miniature, Suite, mirrors, put, stack};
use crate::key::Key;
use crate::liar::{blot, digest, flip, noble, only_file, refusal};
use indicatif::ProgressBar;
use muster::packages::fetch::fetch;

#[test]
fn a_flipped_byte_in_an_index_or_a_package() {
    let mini = Miniature::new(Key::new());
    mini.write(&noble());
    let request = stack(mini.base(&["noble"], &["main"]), &["postgresql"]);
    let path = only_file(&mini, &|path| path.to_string_lossy().contains("by-hash"));
    let honest = std::fs::read(&path).unwrap();
    flip(&path, 40);
    let below = path.strip_prefix(mini.mirror()).unwrap().display();
    assert_eq!(
        refusal(&mini, 11),
        format!(
            "an index of noble (archive mini of mini-1) cannot be fetched: [mirror]/{below} is not \
             the file the lock or index names: its SHA-256 is {}, not {}",
            digest(&std::fs::read(&path).unwrap()),
            digest(&honest)
        )
    );
    put(&path, &honest);
    let lock = mini.lock(&request, 11, None, false).unwrap().lock;
    let path = mini.mirror().join(&lock.packages[0].path);
    let honest = std::fs::read(&path).unwrap();
    flip(&path, 3);
    let (chosen, bar) = (mirrors(&request), ProgressBar::hidden());
    let error = fetch(&lock, &mini.cache(), Some(&chosen), &bar).unwrap_err();
    assert_eq!(
        blot(&mini, &error.to_string()),
        format!(
            "postgresql:all=15 cannot be fetched: [mirror]/pool/postgresql_15_all.deb is not the \
             file the lock or index names: its SHA-256 is {}, not {}",
            digest(&std::fs::read(&path).unwrap()),
            digest(&honest)
        )
    );
    assert_eq!(
        error.hint(),
        Some(
            "the mirror is damaged or tampered with: try another one with --mirror URL. Nothing of \
             the file was kept"
        )
    );
    assert!(!mini.cache().has(&lock.packages[0].sha256));
    mini.is_unharmed();
    put(&path, &honest);
    fetch(&lock, &mini.cache(), Some(&chosen), &bar).unwrap();
    mini.is_unharmed();
}

#[test]
fn an_index_that_unpacks_to_more_than_the_release_says() {
    for suffix in [".xz", ".gz", ".zst"] {
        let mini = Miniature::new(Key::new());
        mini.write(&Suite {
            suffix,
            swollen: 16 << 20,
            ..noble()
        });
        let release = std::fs::read_to_string(mini.mirror().join("dists/noble/InRelease")).unwrap();
        let line = release.lines().find(|line| line.ends_with("/Packages"));
        let size = line.unwrap().split_whitespace().nth(1).unwrap().to_owned();
        assert_eq!(
            refusal(&mini, 11),
            format!(
                "main/binary-amd64/Packages{suffix} of noble (archive mini of mini-1) cannot be \
                 unpacked: it holds more than {size} bytes"
            )
        );
    }
}

#[test]
fn an_index_that_fills_the_memory() {
    let unpacking = |change: &dyn Fn(&mut Suite)| {
        let mini = Miniature::new(Key::new());
        let mut suite = noble();
        change(&mut suite);
        mini.write(&suite);
        refusal(&mini, 11)
    };
    let words = |suffix: &str, why: &str| {
        format!(
            "main/binary-amd64/Packages{suffix} of noble (archive mini of mini-1) cannot be \
             unpacked: {why}"
        )
    };
    // Whatever the release file says, and if it says nothing.
    for said in [0, 1 << 40] {
        let swollen = |suite: &mut Suite| {
            (suite.suffix, suite.swollen, suite.said) = (".zst", 256 << 20, Some(said));
        };
        let most = "it holds more than 268435456 bytes";
        assert_eq!(unpacking(&swollen), words(".zst", most));
    }
    for (suffix, why) in [
        (".xz", "memory limit reached"),
        (".zst", "Frame requires too much memory for decoding"),
    ] {
        let hungry = |suite: &mut Suite| (suite.suffix, suite.hungry) = (suffix, true);
        assert_eq!(unpacking(&hungry), words(suffix, why));
    }
}

#[test]
fn a_release_of_one_day_with_the_index_of_another() {
    for by_hash in [true, false] {
        let mini = Miniature::new(Key::new());
        let suite = |day: u32, version: &str| Suite {
            day,
            by_hash,
            ..Suite::new(
                "noble",
                &format!("Package: postgresql\nVersion: {version}\n"),
            )
        };
        let index = mini.mirror().join("dists/noble/main");
        mini.write(&suite(9, "14"));
        let older = mini.folder.path().join("root");
        std::fs::rename(&index, &older).unwrap();
        mini.write(&suite(10, "15"));
        let newer = only_file(&mini, &|path| path.starts_with(&index));
        let wanted = std::fs::read(&newer).unwrap();
        std::fs::remove_dir_all(&index).unwrap();
        std::fs::rename(&older, &index).unwrap();
        let url = newer.strip_prefix(mini.mirror()).unwrap().display();
        let found = only_file(&mini, &|path| path.starts_with(&index));
        let found = std::fs::read(found).unwrap();
        let why = match (by_hash, found.len() == wanted.len()) {
            (true, _) => ": not there (HTTP 404)".to_owned(),
            (false, true) => format!(
                " is not the file the lock or index names: its SHA-256 is {}, not {}",
                digest(&found),
                digest(&wanted)
            ),
            (false, false) => format!(
                " is not the file the lock or index names: it has {} bytes, not {}",
                found.len(),
                wanted.len()
            ),
        };
        let words = "an index of noble (archive mini of mini-1) cannot be fetched: [mirror]";
        assert_eq!(refusal(&mini, 11), format!("{words}/{url}{why}"));
    }
}

#[test]
fn an_index_that_is_not_the_one_the_release_names() {
    let mini = Miniature::new(Key::new());
    mini.write(&Suite {
        by_hash: false,
        suffix: "",
        ..noble()
    });
    let path = mini.mirror().join("dists/noble/main/binary-amd64/Packages");
    let text = std::fs::read_to_string(&path).unwrap();
    put(&path, text.replace("Version: 15", "Version: 16").as_bytes());
    let error = refusal(&mini, 11);
    let start = "an index of noble (archive mini of mini-1) cannot be fetched: \
        [mirror]/dists/noble/main/binary-amd64/Packages is not the file the lock or index names: \
        its SHA-256 is ";
    assert!(error.starts_with(start), "{error}");
    put(&path, format!("{text}\n").as_bytes());
    assert_eq!(
        refusal(&mini, 11),
        format!(
            "an index of noble (archive mini of mini-1) cannot be fetched: \
             [mirror]/dists/noble/main/binary-amd64/Packages is not the file the lock or index names: \
             it has {} bytes, not {}",
            text.len() + 1,
            text.len()
        )
    );
}

#[test]
fn a_component_or_a_package_that_is_not_there() {
    let mini = Miniature::new(Key::new());
    mini.write(&noble());
    let components = mini.base(&["noble"], &["main", "universe"]);
    let error = mini.lock(&stack(components, &["postgresql"]), 11, None, false);
    assert_eq!(
        error.unwrap_err().to_string(),
        "noble (archive mini of mini-1) has no index of component universe for amd64"
    );
    let base = mini.base(&["noble"], &["main"]);
    let error = mini.lock(&stack(base, &["postgresq"]), 11, None, false);
    assert_eq!(
        error.unwrap_err().to_string(),
        "role office needs postgresq, which no archive has (did you mean postgresql?)"
    );
}

#[test]
fn a_path_that_leaves_the_mirror() {
    let mini = Miniature::new(Key::new());
    let stanza = format!(
        "Package: evil\nVersion: 1\nArchitecture: amd64\nFilename: ../../etc/passwd\n\
         Size: 1\nSHA256: {}\n",
        "0".repeat(64)
    );
    mini.write(&Suite::new("noble", &stanza));
    assert_eq!(
        refusal(&mini, 11),
        "an index of mini-1 cannot be used: package evil: the field Filename is missing or wrong"
    );
    let stanza = stanza.replace("evil", "../evil");
    mini.write(&Suite::new("noble", &stanza));
    assert_eq!(
        refusal(&mini, 11),
        "an index of mini-1 cannot be used: package ../evil: the field Package is missing or wrong"
    );
}

#[test]
fn a_stanza_with_a_field_that_cannot_be() {
    let digest = "0".repeat(64);
    let stanza = format!(
        "Package: evil\nVersion: 1\nArchitecture: amd64\nFilename: pool/evil\nSize: 1\n\
         SHA256: {digest}\n"
    );
    for (field, good, bad) in [
        ("Version", "1", "1/2"),
        ("Architecture", "amd64", ""),
        ("Filename", "pool/evil", "/etc/passwd"),
        ("Filename", "pool/evil", ""),
        ("Size", "1", "0"),
        ("Size", "1", "-1"),
        ("SHA256", &digest, ""),
        ("SHA256", &digest, &"0".repeat(63)),
        ("SHA256", &digest, &"/".repeat(64)),
    ] {
        let mini = Miniature::new(Key::new());
        let wrong = stanza.replace(&format!("{field}: {good}\n"), &format!("{field}: {bad}\n"));
        mini.write(&Suite::new("noble", &wrong));
        assert_eq!(
            refusal(&mini, 11),
            format!(
                "an index of mini-1 cannot be used: package evil: the field {field} is missing or \
                 wrong"
            )
        );
    }
}

#[test]
fn packages_that_wait_for_each_other_to_be_unpacked() {
    let mini = Miniature::new(Key::new());
    // A cycle of Depends has an order; alternatives lead out of one of Pre-Depends.
    let honest = "Package: postgresql\nVersion: 15\nPre-Depends: a\nDepends: d\n\n\
        Package: a\nVersion: 1\nPre-Depends: b | c\n\n\
        Package: b\nVersion: 1\nPre-Depends: a\n\n\
        Package: c\nVersion: 1\nDepends: b\n\n\
        Package: d\nVersion: 1\nDepends: postgresql, c\n";
    mini.write(&Suite::new("noble", honest));
    let request = stack(mini.base(&["noble"], &["main"]), &["postgresql"]);
    let lock = mini.lock(&request, 11, None, false).unwrap().lock;
    let order = lock.roles["office"].packages.join(" ");
    let at = |key: &str| order.find(key).unwrap();
    assert!(at("c:all=1") < at("a:all=1") && at("a:all=1") < at("postgresql:all=15"));
    let closed = honest.replace("b | c", "b");
    mini.write(&Suite::new("noble", &closed));
    assert_eq!(
        refusal(&mini, 11),
        "the packages of role office cannot be unpacked: no order of unpacking fits: \
         a, which must come after b, which must come after a"
    );
}

#[test]
fn needs_that_never_end() {
    let chain = |length: usize| {
        let links =
            (1..length).map(|n| format!("Package: p{n}\nVersion: 1\nDepends: p{}\n\n", n + 1));
        let last = format!("Package: p{length}\nVersion: 1\n\n");
        let start = "Package: postgresql\nVersion: 15\nDepends: p1\n\n".to_owned();
        std::iter::once(start)
            .chain(links)
            .chain([last])
            .collect::<String>()
    };
    // Two ways at each of forty steps, and a wall at the end of all of them.
    let doors = (0..40).map(|n| {
        let next = n + 1;
        let ways = match n {
            39 => "wall".into(),
            _ => format!("l{next} | r{next}"),
        };
        format!("Package: l{n}\nVersion: 1\nDepends: {ways}\n\nPackage: r{n}\nVersion: 1\nDepends: {ways}\n\n")
    });
    let start = "Package: postgresql\nVersion: 15\nDepends: l0 | r0\n\n".to_owned();
    let maze = std::iter::once(start).chain(doors).collect::<String>();
    for (stanzas, words) in [
        (
            chain(6_000),
            "whose needs form a chain of more than 5000 packages",
        ),
        (maze, "for whose needs 500000 choices were tried"),
    ] {
        let mini = Miniature::new(Key::new());
        mini.write(&Suite::new("noble", &stanzas));
        assert_eq!(
            refusal(&mini, 11),
            format!("role office needs postgresql, {words}")
        );
    }
    let mini = Miniature::new(Key::new());
    mini.write(&Suite::new("noble", &chain(4_000)));
    let request = stack(mini.base(&["noble"], &["main"]), &["postgresql"]);
    let lock = mini.lock(&request, 11, None, false).unwrap().lock;
    assert_eq!(lock.packages.len(), 4_001);
}

#[test]
fn needs_that_no_package_meets() {
    for (stanzas, chain) in [
        (
            "Package: postgresql\nVersion: 15\nDepends: libpq (>= 15), adduser\n\n\
             Package: adduser\nVersion: 3\n\n\
             Package: libpq\nVersion: 15\nPre-Depends: libssl3 (>= 3.2) | libssl4\n\n\
             Package: libssl3\nVersion: 3.0\n",
            "postgresql, which needs libpq (>= 15), which needs libssl3 (>= 3.2) or libssl4, but \
             the archives have libssl3 3.0",
        ),
        (
            "Package: postgresql\nVersion: 15\nDepends: mta, exim\n\n\
             Package: exim\nVersion: 1\nProvides: mta\nConflicts: base\n\n\
             Package: base\nVersion: 1\nEssential: yes\n",
            "postgresql, which needs mta (provided by exim), which cannot be installed beside base",
        ),
    ] {
        let mini = Miniature::new(Key::new());
        mini.write(&Suite::new("noble", stanzas));
        assert_eq!(refusal(&mini, 11), format!("role office needs {chain}"));
    }
}
