//! The host's own configuration, computed from the site and written into the root at every
//! start: the root is disposable.

use super::networkd::{self, Segment};
use super::{AgentError, Result, at, write_if_new};
use crate::bringup::process::Program;
use crate::plan::Plan;
use crate::site::{Network, Site};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

/// What a host is called and how it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// Role and host name.
    pub host: String,
    /// The site's domain.
    pub domain: String,
    /// Leftmost labels of the routes this host answers.
    pub routes: Vec<String>,
    /// Where it meets the other hosts of its stack, if there are any.
    pub segment: Option<Segment>,
    /// Name and address of the other hosts.
    pub others: Vec<(String, IpAddr)>,
}

impl Names {
    /// Those of a role's host, from the plan and the answers.
    pub fn of(plan: &Plan, role: &str, domain: &str) -> Names {
        let own = plan.hosts.iter().find(|host| host.role == role);
        let routes = own.into_iter().flat_map(|host| &host.routes);
        let others = addresses(plan).into_iter();
        Names {
            host: role.to_owned(),
            domain: domain.to_owned(),
            routes: routes.map(|route| route.host.clone()).collect(),
            segment: own.and_then(|host| Segment::of(&plan.stack, host)),
            others: others.filter(|(host, _)| host != role).collect(),
        }
    }
}

/// The address of each host among the hosts, by role.
pub fn addresses(plan: &Plan) -> BTreeMap<String, IpAddr> {
    let known = plan.hosts.iter().filter_map(|host| {
        let (address, _) = host.address.as_deref()?.split_once('/')?;
        Some((host.role.clone(), address.parse().ok()?))
    });
    known.collect()
}

/// One file of the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFile {
    /// Path without the leading slash.
    pub path: &'static str,
    /// Content.
    pub content: String,
    /// Permission bits.
    pub mode: u32,
}

/// Every file, as data.
pub fn files(site: &Site, names: &Names) -> Vec<HostFile> {
    let file = |path, content| HostFile {
        path,
        content,
        mode: 0o644,
    };
    let network = site.network.get(&names.host).unwrap_or(&Network::Dhcp {});
    let password = if site.admin.ssh_keys.is_empty() {
        "yes"
    } else {
        "no"
    };
    let mut files = vec![
        file("etc/hostname", format!("{}\n", names.host)),
        file("etc/hosts", hosts(network, names)),
        networkd::outside(network, &names.domain),
        file("etc/timezone", format!("{}\n", site.timezone)),
        file(
            "etc/ssh/sshd_config.d/10-muster.conf",
            format!(
                "HostKey /var/lib/muster/ssh/ssh_host_ed25519_key\nPermitRootLogin no\n\
                 PasswordAuthentication {password}\nKbdInteractiveAuthentication {password}\n"
            ),
        ),
    ];
    files.extend(names.segment.iter().flat_map(Segment::files));
    files
}

const KEYBOARD: &str = "etc/default/keyboard";

fn keyboard_file(layout: &str) -> String {
    format!(
        "# keyboard(5), from the answers of this site\nXKBMODEL=\"pc105\"\nXKBLAYOUT=\"{layout}\"\n\
         XKBVARIANT=\"\"\nXKBOPTIONS=\"\"\n\nBACKSPACE=\"guess\"\n"
    )
}

fn hosts(network: &Network, names: &Names) -> String {
    // Debian's 127.0.1.1 for a host whose address may change.
    let address = match (&names.segment, network) {
        // As the other hosts know it.
        (Some(segment), _) => &segment.address,
        (None, Network::Dhcp {}) => "127.0.1.1",
        (None, Network::Static { address, .. }) => address,
    };
    let address = address.split('/').next().unwrap_or_default();
    let Names {
        host,
        domain,
        routes,
        others,
        ..
    } = names;
    let mut text = format!("127.0.0.1 localhost\n{address} {host}.{domain} {host}\n");
    for route in routes {
        text.push_str(&format!("{address} {route}.{domain}\n"));
    }
    for (other, address) in others {
        text.push_str(&format!("{address} {other}.{domain} {other}\n"));
    }
    text.push_str("::1 localhost ip6-localhost ip6-loopback\n");
    text.push_str("ff02::1 ip6-allnodes\nff02::2 ip6-allrouters\n");
    text
}

/// Writes the files that differ and makes them count. Before networkd starts.
pub fn apply(root: &Path, site: &Site, names: &Names) -> Result<()> {
    for file in files(site, names) {
        write_if_new(&root.join(file.path), &file.content, file.mode)?;
    }
    keyboard(root, &site.keyboard)?;
    link(
        root,
        "etc/localtime",
        &format!("/usr/share/zoneinfo/{}", site.timezone),
    )?;
    link(
        root,
        "etc/resolv.conf",
        "../run/systemd/resolve/stub-resolv.conf",
    )?;
    nix::unistd::sethostname(&names.host).map_err(|error| AgentError::System {
        what: "cannot set the host name",
        error,
    })?;
    Ok(())
}

/// Whether the root has this keyboard layout: the one of the image is loaded at boot.
pub fn has_keyboard(root: &Path, layout: &str) -> bool {
    let text = std::fs::read_to_string(root.join(KEYBOARD)).unwrap_or_default();
    let line = format!("XKBLAYOUT=\"{layout}\"");
    text.lines().any(|known| known == line)
}

/// Applies a keyboard layout now, before anything is typed with it.
pub fn keyboard(root: &Path, layout: &str) -> Result<()> {
    // Compiling a keymap takes seconds, now and at the next boot; the image's own layout is loaded
    // already.
    if !has_keyboard(root, layout) {
        write_if_new(&root.join(KEYBOARD), &keyboard_file(layout), 0o644)?;
        load_keyboard();
    }
    Ok(())
}

/// A host without a screen has no keyboard to load; the layout stays written all the same.
fn load_keyboard() {
    if Program::new(["setupcon", "--keyboard-only", "--force", "--save"])
        .run()
        .is_err()
    {
        eprintln!("muster: the keyboard layout could not be loaded on the screen");
    }
}

fn link(root: &Path, path: &str, target: &str) -> Result<()> {
    let path = root.join(path);
    if std::fs::read_link(&path).is_ok_and(|old| old == Path::new(target)) {
        return Ok(());
    }
    let beside = path.with_extension("muster-new");
    if beside.symlink_metadata().is_ok() {
        std::fs::remove_file(&beside).map_err(at(&beside))?;
    }
    std::os::unix::fs::symlink(target, &beside).map_err(at(&beside))?;
    std::fs::rename(&beside, &path).map_err(at(&path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::Person;

    fn site(network: Network, ssh_keys: &[&str]) -> Site {
        Site {
            id: "0".repeat(32),
            organisations: Vec::new(),
            timezone: "Europe/Berlin".into(),
            keyboard: "de".into(),
            network: BTreeMap::from([("office".to_string(), network)]),
            admin: Person {
                name: "admin".into(),
                full_name: "Ada".into(),
                password_hash: String::new(),
                ssh_keys: ssh_keys.iter().map(|key| (*key).into()).collect(),
            },
            people: Vec::new(),
            disabled: Vec::new(),
            aliases: BTreeMap::new(),
        }
    }

    fn content(site: &Site, path: &str) -> String {
        let names = Names {
            host: "office".into(),
            domain: "example.org".into(),
            routes: vec!["webmail".into()],
            segment: None,
            others: Vec::new(),
        };
        let files = files(site, &names);
        files
            .into_iter()
            .find(|file| file.path == path)
            .expect(path)
            .content
    }

    const NETWORK: &str = "etc/systemd/network/10-muster.network";
    const SSHD: &str = "etc/ssh/sshd_config.d/10-muster.conf";

    #[test]
    fn a_static_address_is_the_host_s_name_and_its_only_network() {
        let site = site(
            Network::Static {
                address: "192.0.2.10/24".into(),
                gateway: Some("192.0.2.1".into()),
                dns: vec!["192.0.2.53".into(), "2001:db8::53".into()],
            },
            &[],
        );
        assert_eq!(
            content(&site, NETWORK),
            "[Match]\nType=ether\nName=en* eth*\n\n[Network]\nAddress=192.0.2.10/24\n\
             Gateway=192.0.2.1\nDNS=192.0.2.53\nDNS=2001:db8::53\nDomains=example.org\n\
             LLMNR=no\nMulticastDNS=no\n"
        );
        assert_eq!(
            content(&site, "etc/hosts"),
            "127.0.0.1 localhost\n192.0.2.10 office.example.org office\n\
             192.0.2.10 webmail.example.org\n::1 localhost ip6-localhost ip6-loopback\n\
             ff02::1 ip6-allnodes\nff02::2 ip6-allrouters\n"
        );
        assert!(keyboard_file(&site.keyboard).contains("XKBLAYOUT=\"de\"\n"));
        assert_eq!(content(&site, "etc/timezone"), "Europe/Berlin\n");
    }

    #[test]
    fn with_dhcp_the_host_knows_itself_by_a_loopback_address() {
        let site = site(Network::Dhcp {}, &[]);
        assert!(content(&site, NETWORK).contains("[Network]\nDHCP=yes\n"));
        assert!(content(&site, "etc/hosts").contains("127.0.1.1 office.example.org office\n"));
    }

    #[test]
    fn a_host_among_others_has_an_address_for_them_and_knows_their_names() {
        let names = Names {
            host: "edge".into(),
            domain: "example.org".into(),
            routes: vec!["webmail".into()],
            segment: Some(Segment {
                macs: vec!["52:54:00:0a:0b:0c".into()],
                bond: None,
                vlan: None,
                address: "10.77.0.11/24".into(),
            }),
            others: vec![("core".into(), [10, 77, 0, 10].into())],
        };
        let files = files(&site(Network::Dhcp {}, &[]), &names);
        let content = |path: &str| {
            let file = files.iter().find(|file| file.path == path);
            file.expect(path).content.clone()
        };
        assert_eq!(
            content("etc/hosts"),
            "127.0.0.1 localhost\n10.77.0.11 edge.example.org edge\n\
             10.77.0.11 webmail.example.org\n10.77.0.10 core.example.org core\n\
             ::1 localhost ip6-localhost ip6-loopback\n\
             ff02::1 ip6-allnodes\nff02::2 ip6-allrouters\n"
        );
        let own = content("etc/systemd/network/05-muster-hosts.network");
        assert!(own.contains("[Network]\nAddress=10.77.0.11/24\n"), "{own}");
    }

    #[test]
    fn ssh_takes_passwords_only_from_an_administrator_without_a_key_and_never_root() {
        for (keys, word) in [(&["ssh-ed25519 AAAA"][..], "no"), (&[], "yes")] {
            let text = content(&site(Network::Dhcp {}, keys), SSHD);
            assert!(
                text.contains(&format!("\nPasswordAuthentication {word}\n")),
                "{text}"
            );
            assert!(text.contains("\nPermitRootLogin no\n"), "{text}");
        }
    }

    #[test]
    fn a_link_is_replaced_in_one_step() {
        let root = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(root.path().join("etc")).expect("a folder");
        std::fs::write(
            root.path().join("etc/resolv.conf"),
            "nameserver 192.0.2.1\n",
        )
        .expect("w");
        for target in ["../run/a", "../run/b", "../run/b"] {
            link(root.path(), "etc/resolv.conf", target).expect("linked");
            let path = root.path().join("etc/resolv.conf");
            assert_eq!(std::fs::read_link(path).expect("a link"), Path::new(target));
        }
        assert_eq!(
            std::fs::read_dir(root.path().join("etc"))
                .expect("a folder")
                .count(),
            1
        );
    }
}
