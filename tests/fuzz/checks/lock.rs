//! `muster.lock`.

use muster::packages::lock::Lock;

pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(lock) = Lock::from_text(text) else {
        return;
    };
    let written = lock.to_text();
    assert_eq!(Lock::from_text(&written).as_ref(), Ok(&lock), "{written}");
    for role in lock.roles.values() {
        for key in role.essential.iter().chain(&role.packages) {
            assert_eq!(&lock.package(&role.base, key).unwrap().key(), key);
        }
    }
    for package in &lock.packages {
        // It is the name of a file in the cache.
        assert_eq!(package.sha256.len(), 64);
        assert!(package.sha256.bytes().all(|byte| byte.is_ascii_hexdigit()));
        // It is a part of the names of files in dpkg's database.
        assert!(!package.name.contains('/'), "{}", package.name);
        // It is a path below a mirror.
        assert!(!package.path.split('/').any(|part| part == ".."));
    }
}
