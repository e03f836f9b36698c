//! What apt and dpkg read on a host: the archives of its role, their pins, and what stays out.

use crate::archive::{Miniature, stack};
use crate::key::Key;
use muster::image::apt::files;
use muster::profile::{Archive, Exclude, Role};

#[test]
fn a_host_knows_the_archives_of_its_role_with_their_pins_and_no_others() {
    let mini = Miniature::new(Key::new());
    let mut base = mini.base(&["noble", "noble-updates"], &["main", "universe"]);
    base.archives[0].mirror = "http://mirror.example/mini".into();
    base.archives[0].keys = "[key of mini]\n".into();
    let vendor = Archive {
        name: "vendor".into(),
        mirror: "https://apt.vendor.example/ubuntu".into(),
        origin: "The Vendor".into(),
        suites: vec!["noble-vendor".into()],
        components: vec!["stable".into()],
        keys: "[key of vendor]\n".into(),
        packages: vec!["agent*".into()],
        priority: Some(990),
        services: vec!["agent".into()],
        ..base.archives[0].clone()
    };
    base.archives.push(vendor);
    base.exclude = Exclude {
        paths: vec!["/usr/share/doc/*".into(), "/usr/share/man/*".into()],
        keep: vec!["/usr/share/doc/*/copyright".into()],
    };
    let mut role = stack(base.clone(), &[]).roles.remove(0);
    let shown = |role: &Role| -> String {
        let files = files(&base, role).into_iter();
        files
            .map(|(path, text)| format!("== {path}\n{text}"))
            .collect()
    };
    insta::assert_snapshot!(shown(&role), @r"
    == /etc/apt/keyrings/mini.asc
    [key of mini]
    == /etc/apt/sources.list.d/mini.sources
    Types: deb
    URIs: http://mirror.example/mini
    Suites: noble noble-updates
    Components: main universe
    Signed-By: /etc/apt/keyrings/mini.asc
    == /etc/dpkg/dpkg.cfg.d/muster
    path-exclude=/usr/share/doc/*
    path-exclude=/usr/share/man/*
    path-include=/usr/share/doc/*/copyright
    ");
    role.services = vec!["agent".into()];
    insta::assert_snapshot!(shown(&role), @r"
    == /etc/apt/keyrings/mini.asc
    [key of mini]
    == /etc/apt/keyrings/vendor.asc
    [key of vendor]
    == /etc/apt/preferences.d/vendor.pref
    Package: agent*
    Pin: release o=The Vendor
    Pin-Priority: 990

    Package: *
    Pin: release o=The Vendor
    Pin-Priority: -1
    == /etc/apt/sources.list.d/mini.sources
    Types: deb
    URIs: http://mirror.example/mini
    Suites: noble noble-updates
    Components: main universe
    Signed-By: /etc/apt/keyrings/mini.asc
    == /etc/apt/sources.list.d/vendor.sources
    Types: deb
    URIs: https://apt.vendor.example/ubuntu
    Suites: noble-vendor
    Components: stable
    Signed-By: /etc/apt/keyrings/vendor.asc
    == /etc/dpkg/dpkg.cfg.d/muster
    path-exclude=/usr/share/doc/*
    path-exclude=/usr/share/man/*
    path-include=/usr/share/doc/*/copyright
    ");
}
