//! The host's own configuration, computed from the site and written into the root at every
//! start: the root is disposable.

use super::{AgentError, Result, at, write_if_new};
use crate::bringup::process::Program;
use crate::site::{Network, Site};
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
    vec![
        file("etc/hostname", format!("{}\n", names.host)),
        file("etc/hosts", hosts(network, names)),
        file(
            "etc/systemd/network/10-muster.network",
            networkd(network, &names.domain),
        ),
        file("etc/timezone", format!("{}\n", site.timezone)),
        file(KEYBOARD, keyboard_file(&site.keyboard)),
        file(
            "etc/ssh/sshd_config.d/10-muster.conf",
            format!(
                "HostKey /var/lib/muster/ssh/ssh_host_ed25519_key\nPermitRootLogin no\n\
                 PasswordAuthentication {password}\nKbdInteractiveAuthentication {password}\n"
            ),
        ),
    ]
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
    let address = match network {
        Network::Dhcp {} => "127.0.1.1",
        Network::Static { address, .. } => address.split('/').next().unwrap_or("127.0.1.1"),
    };
    let Names {
        host,
        domain,
        routes,
    } = names;
    let mut text = format!("127.0.0.1 localhost\n{address} {host}.{domain} {host}\n");
    for route in routes {
        text.push_str(&format!("{address} {route}.{domain}\n"));
    }
    text.push_str("::1 localhost ip6-localhost ip6-loopback\n");
    text.push_str("ff02::1 ip6-allnodes\nff02::2 ip6-allrouters\n");
    text
}

/// systemd.network(5). Without a MAC in the answers every wired port that Linux names by
/// its place is ours.
fn networkd(network: &Network, domain: &str) -> String {
    let mut text = String::from("[Match]\nType=ether\nName=en* eth*\n\n[Network]\n");
    match network {
        Network::Dhcp {} => text.push_str("DHCP=yes\n"),
        Network::Static {
            address,
            gateway,
            dns,
        } => {
            text.push_str(&format!("Address={address}\n"));
            if let Some(gateway) = gateway {
                text.push_str(&format!("Gateway={gateway}\n"));
            }
            for server in dns {
                text.push_str(&format!("DNS={server}\n"));
            }
            text.push_str(&format!("Domains={domain}\n"));
        }
    }
    text.push_str("LLMNR=no\nMulticastDNS=no\n");
    if matches!(network, Network::Dhcp {}) {
        // The host name is the site's; the lease follows the card, not the installation.
        text.push_str("\n[DHCPv4]\nClientIdentifier=mac\nUseHostname=no\n");
    }
    text
}

/// Writes the files that differ and makes them count. Before networkd starts.
pub fn apply(root: &Path, site: &Site, names: &Names) -> Result<()> {
    let mut keyboard = false;
    for file in files(site, names) {
        let written = write_if_new(&root.join(file.path), &file.content, file.mode)?;
        keyboard |= written && file.path == KEYBOARD;
    }
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
    if keyboard {
        load_keyboard();
    }
    Ok(())
}

/// Applies a keyboard layout now, before anything is typed with it.
pub fn keyboard(root: &Path, layout: &str) -> Result<()> {
    write_if_new(&root.join(KEYBOARD), &keyboard_file(layout), 0o644)?;
    load_keyboard();
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
