//! What makes Debian's packages Ubuntu's: names, versions, pockets, components, and where the
//! kernel, the boot loader and the keyring have their files.
//!
//! The facts are those of packages.ubuntu.com's pages and lists of files for noble.

use crate::deb::{Deb, Member};

/// The kernel's name in file and package names.
pub const ABI: &str = "6.8.0-31-generic";

/// A package and where it is published.
pub struct Placed {
    /// `noble`, `noble-updates` or `noble-security`.
    pub suite: &'static str,
    /// What stands in the index beside the control paragraph.
    pub fields: String,
    /// The package.
    pub deb: Deb,
}

/// Packages of Debian that Ubuntu does not have.
pub const GONE: [&str; 5] = [
    "debian-archive-keyring",
    "linux-image-cloud-amd64",
    "shim-helpers-amd64-signed",
    "shim-signed-common",
    "shim-unsigned",
];

/// Packages that Ubuntu changes, or publishes more than once; all others are Debian's, packed
/// anew.
const SHAPED: [&str; 15] = [
    "apt",
    "base-files",
    "grub-efi-amd64-signed",
    "initramfs-tools-core",
    "iputils-ping",
    "less",
    "linux-base",
    "logrotate",
    "mokutil",
    "nano",
    "shim-signed",
    "sudo",
    "tzdata",
    "udev",
    "zstd",
];

/// Whether [`shape`] has something to say about it.
pub fn is_shaped(name: &str) -> bool {
    SHAPED.contains(&name) || is_kernel(name)
}

/// Whether it is Debian's kernel itself.
pub fn is_kernel(name: &str) -> bool {
    name.starts_with("linux-image-6") && name.ends_with("-cloud-amd64")
}

/// The component it is published in.
pub fn component(name: &str) -> &'static str {
    let universe = [
        "libjs-",
        "php",
        "prometheus",
        "promtool",
        "roundcube",
        "dovecot-ldap",
        "fonts-",
        "sqv",
        "libio-pty-perl",
        "libipc-run-perl",
    ];
    match universe.iter().any(|start| name.starts_with(start)) {
        true => "universe",
        false => "main",
    }
}

/// What Ubuntu publishes in the place of a Debian package. `helpers` is shim's other package.
pub fn shape(name: &str, mut deb: Deb, helpers: &Deb) -> Vec<Placed> {
    match name {
        "apt" => {
            let depends = deb.field("Depends");
            let depends = depends.replace("debian-archive-keyring", "ubuntu-keyring");
            deb.set("Depends", &depends);
            derived(deb)
        }
        "base-files" => {
            base_files(&mut deb);
            derived(deb)
        }
        "linux-base" => {
            let module = deb.file("./usr/share/perl5/DebianLinux.pm");
            let text = String::from_utf8(module.content.clone()).unwrap();
            let ours = text.replace("link_in_boot =>\t\t0", "link_in_boot =>\t\t1");
            assert_ne!(
                ours, text,
                "where links to kernels stand is said in another way"
            );
            module.content = ours.into();
            derived(deb)
        }
        "initramfs-tools-core" => {
            let depends = deb.field("Depends");
            deb.set("Depends", &format!("dhcpcd-base, {depends}"));
            vec![here(deb)]
        }
        // Older than this group.
        "udev" => {
            let users = deb.file("./usr/lib/sysusers.d/debian-udev.conf");
            let text = String::from_utf8(users.content.clone()).unwrap();
            users.content = text.replace("g clock  -\n", "").into();
            vec![here(deb)]
        }
        // Built before the library got its new name, which provides the old one.
        "mokutil" => {
            let depends = deb.field("Depends");
            let old = depends.replace("libssl3t64 (", "libssl3 (");
            assert_ne!(old, depends);
            deb.set("Depends", &old);
            vec![here(deb)]
        }
        "grub-efi-amd64-signed" => {
            let binary = deb.field("Depends");
            let version = binary.split(['(', ')']).nth(1).unwrap();
            let depends = format!(
                "debconf (>= 0.5) | debconf-2.0, grub-efi-amd64 | grub-pc, \
                 grub-efi-amd64-bin ({version}), grub2-common (>= 2.02+dfsg1-5)"
            );
            deb.set("Depends", &depends);
            let program = deb.file("./usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed");
            rename(&mut program.content, b"/EFI/debian", b"/EFI/ubuntu");
            derived(deb)
        }
        "shim-signed" => vec![here(shim(deb, helpers))],
        // The fix is in the pocket of fixes alone.
        "nano" => twice(deb, "noble-security", ""),
        // … or in both of them.
        "sudo" => {
            let mut all = twice(deb, "noble-security", "");
            let again = Deb {
                control: all[1].deb.control.clone(),
                data: all[1].deb.data.clone(),
            };
            all.push(Placed {
                suite: "noble-updates",
                fields: "Phased-Update-Percentage: 40\n".into(),
                deb: again,
            });
            all
        }
        "iputils-ping" => twice(deb, "noble-updates", ""),
        "less" => twice(deb, "noble-updates", "Phased-Update-Percentage: 10\n"),
        "zstd" => twice(deb, "noble-updates", "Phased-Update-Percentage: 0\n"),
        // Nothing came before it.
        "logrotate" => vec![Placed {
            suite: "noble-updates",
            fields: "Phased-Update-Percentage: 10\n".into(),
            deb,
        }],
        // A stable release in a pocket, with the suffix that says so.
        "tzdata" => twice(deb, "noble-updates", ""),
        kernel if is_kernel(kernel) => linux(kernel, &deb),
        _ => vec![here(deb)],
    }
}

/// The package that makes apt believe Ubuntu's archive.
pub fn keyring(key: &str) -> Placed {
    let mut deb = Deb::new(
        "Package: ubuntu-keyring\nVersion: 2023.11.28.1\nArchitecture: all\n\
         Multi-Arch: foreign\nPriority: important\nSection: misc\nInstalled-Size: 40\n\
         Maintainer: Miniature <mini@example.org>\n\
         Description: GnuPG keys of the Ubuntu archive\n",
    );
    for path in [
        "./etc/apt/trusted.gpg.d/ubuntu-keyring-2018-archive.asc",
        "./usr/share/keyrings/ubuntu-archive-keyring.asc",
    ] {
        deb.data.push(Member::file(path, 0o644, key));
    }
    here(deb)
}

/// As Debian has it, in the release.
fn here(deb: Deb) -> Placed {
    Placed {
        suite: "noble",
        fields: String::new(),
        deb,
    }
}

/// With a version of Ubuntu's own, in the release.
fn derived(mut deb: Deb) -> Vec<Placed> {
    let version = deb.field("Version");
    deb.set("Version", &format!("{version}ubuntu1"));
    vec![here(deb)]
}

/// In the release, and newer in a pocket.
fn twice(deb: Deb, suite: &'static str, fields: &str) -> Vec<Placed> {
    let version = deb.field("Version");
    let mut newer = Deb {
        control: deb.control.clone(),
        data: deb.data.clone(),
    };
    newer.set("Version", &format!("{version}ubuntu0.1"));
    let newer = Placed {
        suite,
        fields: fields.into(),
        deb: newer,
    };
    vec![here(deb), newer]
}

/// Where a program looks for its configuration; what was signed is another program then, which
/// matters to Secure Boot alone.
fn rename(program: &mut [u8], from: &[u8], to: &[u8]) {
    assert_eq!(from.len(), to.len());
    let found = program.windows(from.len()).position(|part| part == from);
    let found = found.expect("the name is in it");
    program[found..found + to.len()].copy_from_slice(to);
}

fn base_files(deb: &mut Deb) {
    let release = "PRETTY_NAME=\"Ubuntu 24.04 LTS\"\nNAME=\"Ubuntu\"\nVERSION_ID=\"24.04\"\n\
                   VERSION=\"24.04 LTS (Noble Numbat)\"\nVERSION_CODENAME=noble\nID=ubuntu\n\
                   ID_LIKE=debian\nUBUNTU_CODENAME=noble\n";
    deb.file("./usr/lib/os-release").content = release.into();
    deb.file("./etc/debian_version").content = "trixie/sid\n".into();
    deb.file("./etc/issue").content = "Ubuntu 24.04 LTS \\n \\l\n\n".into();
    deb.file("./etc/issue.net").content = "Ubuntu 24.04 LTS\n".into();
    let release = "DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=24.04\nDISTRIB_CODENAME=noble\n\
                   DISTRIB_DESCRIPTION=\"Ubuntu 24.04 LTS\"\n";
    deb.data
        .push(Member::file("./etc/lsb-release", 0o644, release));
}

/// One package holds all of shim, two versions of it: which one is started is an alternative.
fn shim(deb: Deb, helpers: &Deb) -> Deb {
    let file = |from: &str| {
        let all = deb.data.iter().chain(&helpers.data);
        let found = all.into_iter().find(|member| member.path == from);
        found.unwrap_or_else(|| panic!("{from}")).content.clone()
    };
    let own = [
        (
            "shimx64.efi.signed.latest",
            file("./usr/lib/shim/shimx64.efi.signed"),
        ),
        (
            "shimx64.efi.signed.previous",
            file("./usr/lib/shim/shimx64.efi.signed"),
        ),
        ("mmx64.efi", file("./usr/lib/shim/mmx64.efi.signed")),
        ("fbx64.efi", file("./usr/lib/shim/fbx64.efi.signed")),
    ];
    let mut shim = Deb::new(
        "Package: shim-signed\nVersion: 1.58+15.8-0ubuntu1\nArchitecture: amd64\n\
         Priority: optional\nSection: utils\nInstalled-Size: 6000\n\
         Maintainer: Miniature <mini@example.org>\n\
         Depends: debconf (>= 0.5) | debconf-2.0, grub-efi-amd64-signed | grub-efi-arm64-signed, \
         grub2-common (>= 2.04-1ubuntu24), mokutil\n\
         Description: Secure Boot chain-loading bootloader (Microsoft-signed binary)\n",
    );
    for (name, content) in own {
        let path = format!("./usr/lib/shim/{name}");
        shim.data.push(Member::file(&path, 0o644, content));
    }
    let script = "#!/bin/sh\nset -e\n[ \"$1\" = configure ] || exit 0\ncd /usr/lib/shim\n\
                  for which in latest:100 previous:50; do\n    update-alternatives --install \
                  /usr/lib/shim/shimx64.efi.signed shimx64.efi.signed \
                  \"/usr/lib/shim/shimx64.efi.signed.${which%:*}\" \"${which#*:}\"\ndone\n";
    shim.put("postinst", 0o755, script);
    shim
}

/// Image, modules and the package that always needs the newest. The kernel itself still calls
/// itself what Debian called it, so links lead from that name to Ubuntu's.
fn linux(name: &str, debian: &Deb) -> Vec<Placed> {
    let own = name.strip_prefix("linux-image-").unwrap();
    let paragraph = |package: &str, more: &str| {
        format!(
            "Package: {package}\nSource: linux\nVersion: 6.8.0-31.31\nArchitecture: amd64\n\
             Priority: optional\nSection: kernel\nInstalled-Size: 40000\n\
             Maintainer: Miniature <mini@example.org>\n{more}Description: Linux kernel\n"
        )
    };
    let mut modules = Deb::new(&paragraph(&format!("linux-modules-{ABI}"), ""));
    let depends =
        format!("Depends: kmod, linux-base (>= 4.5ubuntu1~16.04.1), linux-modules-{ABI}\n");
    let mut image = Deb::new(&paragraph(&format!("linux-image-{ABI}"), &depends));
    for member in &debian.data {
        let mut member = member.clone();
        let renamed = member.path.replace(own, ABI);
        if renamed.starts_with("./boot/vmlinuz-") {
            member.path = renamed;
            image.data.push(member);
        } else if renamed.starts_with("./boot/") && renamed.ends_with(ABI) {
            member.path = renamed;
            modules.data.push(member);
        } else if let Some(rest) = renamed.strip_prefix("./usr/lib/modules/") {
            member.path = format!("./lib/modules/{rest}");
            modules.data.push(member);
        }
    }
    modules
        .data
        .push(Member::link(&format!("./lib/modules/{own}"), ABI));
    let hook = format!(
        "#!/bin/sh\n[ \"$1\" = prereqs ] && exit\nln -s {ABI} \"$DESTDIR/usr/lib/modules/{own}\"\n"
    );
    let path = "./usr/share/initramfs-tools/hooks/kernel-name";
    modules.data.push(Member::file(path, 0o755, hook));
    let script = format!("#!/bin/sh\nset -e\n[ \"$1\" != configure ] || depmod {ABI}\n");
    modules.put("postinst", 0o755, &script);

    // The hooks of other packages run once, when all are configured.
    image.put("triggers", 0o644, &format!("interest linux-update-{ABI}\n"));
    let fresh = format!("/lib/modules/{ABI}/.fresh-install");
    let script = format!(
        "#!/bin/sh\nset -e\nif [ \"$1\" = install ]; then\n    mkdir -p /lib/modules/{ABI}\n    \
         touch {fresh}\nfi\n"
    );
    image.put("preinst", 0o755, &script);
    let script = format!(
        "#!/bin/sh\nset -e\nfile=/boot/vmlinuz-{ABI}\nif [ \"$1\" = triggered ]; then\n    \
         exec run-parts --exit-on-error --arg={ABI} --arg=$file /etc/kernel/postinst.d\nfi\n\
         [ \"$1\" = configure ] || exit 0\nchange=upgrade\n[ ! -f {fresh} ] || change=install\n\
         linux-update-symlinks $change {ABI} $file\nrm -f {fresh}\n\
         dpkg-trigger --no-await linux-update-{ABI}\n"
    );
    image.put("postinst", 0o755, &script);
    let depends = format!("Depends: linux-image-{ABI}\n");
    let newest = Deb::new(&paragraph("linux-image-virtual", &depends));
    [modules, image, newest].into_iter().map(here).collect()
}
