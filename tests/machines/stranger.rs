//! What somebody finds who does not know the host: from the network, as a local user without
//! rights, and in what it has written down.

use crate::site::Site;
use serde_json::Value;
use std::collections::BTreeSet;

/// Programs that run as root because their work needs it: systemd and the consoles, the agent,
/// and the parents of services that give their rights away in their children.
const ROOT: &[&str] = &[
    "(sd-pam)",
    "agetty",
    "auth",
    "config",
    "cron",
    "dovecot",
    "log",
    "login",
    "master",
    "muster",
    "nginx",
    "php-fpm",
    "sshd",
    "systemd",
    "systemd-journal",
    "systemd-logind",
    "systemd-udevd",
];

/// Looks everywhere.
pub fn look(site: &Site) {
    let plan = site.must(&["plan", "office", "--json"]);
    doors(site, &plan);
    rights(site);
    secrets(site);
    packages(site, &plan);
}

/// Connects from another network to every listener and to a thousand further ports: only
/// those of the plan answer.
fn doors(site: &Site, plan: &str) {
    let plan: Value = serde_json::from_str(plan).expect("JSON");
    let rules = plan["firewall"].as_array().expect("rules").iter();
    let mut wanted: BTreeSet<u64> = rules
        .filter(|rule| rule["scope"] == "public" && rule["protocol"] == "tcp")
        .map(|rule| rule["port"].as_u64().expect("a port"))
        .collect();
    wanted.insert(22);
    let found = site.on_host(SCAN);
    let (tried, open) = found.trim().split_once(':').expect("what was tried");
    let open: BTreeSet<u64> = open
        .split_whitespace()
        .map(|port| port.parse().expect("a port"))
        .collect();
    assert_eq!(open, wanted, "open ports, of {tried} tried");
    site.saw(&format!(
        "of {tried} ports only the {} of the plan are open",
        open.len()
    ));
}

/// A network namespace that reaches the host over a link of its own, as another computer
/// would. Says how many ports were tried and which are open.
const SCAN: &str = r#"
ip netns add stranger
trap 'ip netns del stranger' EXIT
ip link add stranger0 type veth peer name stranger1 netns stranger
ip address add 198.51.100.1/30 dev stranger0
ip link set stranger0 up
ip -n stranger address add 198.51.100.2/30 dev stranger1
ip -n stranger link set stranger1 up
listeners=$(ss -Hltn | awk '{ sub(/.*:/, "", $4); print $4 }' | sort -u)
others=$(shuf -i 1-65535 -n 1000)
ip netns exec stranger perl -e '
    use Socket; use IO::Select; use IO::Handle;
    my %ports = map { $_ => 1 } @ARGV;
    my @left = sort keys %ports;
    my @open;
    while (my @batch = splice @left, 0, 200) {
        my $waiting = IO::Select->new;
        my %port;
        for (@batch) {
            socket my $socket, PF_INET, SOCK_STREAM, 0 or die $!;
            $socket->blocking(0);
            connect $socket, pack_sockaddr_in($_, inet_aton("198.51.100.1"));
            $waiting->add($socket);
            $port{fileno $socket} = $_;
        }
        my $end = time + 3;
        while ($waiting->count && time < $end) {
            for ($waiting->can_write(0.5)) {
                my $error = unpack "i", getsockopt $_, SOL_SOCKET, SO_ERROR;
                push @open, $port{fileno $_} unless $error;
                $waiting->remove($_);
            }
        }
    }
    print scalar(keys %ports), ":@open\n";
' $listeners $others
"#;

/// Who runs with which rights.
fn rights(site: &Site) {
    // Not the kernel's threads, nor this question itself.
    let running = site.on_host(
        "ps -eo user=,tty=,comm= --ppid 2 -p 2 -N | awk '$1 == \"root\" && $2 !~ /pts/ { print $3 }' | sort -u",
    );
    let asking = ["awk", "ps", "sh", "sort", "sudo"];
    for program in running.lines().filter(|name| !asking.contains(name)) {
        let name =
            program.trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
        assert!(ROOT.contains(&name), "{program} runs as root:\n{running}");
    }
    let writable = site.on_host(
        "find / /data -xdev \\( -type f -o -type d \\) -perm /o=w ! -perm -1000 ! -path '/proc/*' | cat",
    );
    assert_eq!(writable.trim(), "", "what anybody may change");
    site.saw("nothing runs as root that need not, nothing may be changed by anybody");
}

/// Secrets stand nowhere but where they belong.
fn secrets(site: &Site) {
    let all = "find /var/lib/muster/secrets -type f -exec sh -c 'cat \"$1\"; echo' sh {} \\; | grep -E '.{12,}'";
    let readable = site.on_host(&format!(
        "{all} | runuser -u nobody -- grep -rlF -f - /etc /var /run /srv /home /opt /data /tmp 2>/dev/null | cat"
    ));
    assert_eq!(readable.trim(), "", "secrets that anybody may read");
    let logged = site.on_host(&format!(
        "{all} >/run/muster/all-secrets; \
         journalctl --output=cat | grep -F -f /run/muster/all-secrets | cat; \
         grep -rlF -f /run/muster/all-secrets --exclude-dir=journal /var/log | cat; \
         wc -l </run/muster/all-secrets; rm /run/muster/all-secrets"
    ));
    let lines: Vec<&str> = logged.lines().collect();
    let count: u32 = lines
        .last()
        .and_then(|line| line.trim().parse().ok())
        .expect("how many");
    assert!(count >= 5, "only {count} secrets were looked for");
    assert_eq!(lines.len(), 1, "secrets in logs:\n{logged}");
    site.saw(&format!("none of {count} secrets is readable or in a log"));
    let most = site.on_host(
        "journalctl -b -u systemd-journald --output=cat | sed -n 's/^System Journal.* max \\([0-9.]*[MG]\\).*/\\1/p' | tail -n 1",
    );
    assert_eq!(most.trim(), "256.0M", "what the journal may grow to");
}

/// Packages are as dpkg left them, but for what the plan writes.
fn packages(site: &Site, plan: &str) {
    // Written at every start, from the site.
    let own = ["/etc/hosts", "/etc/issue", "/etc/nftables.conf"];
    let changed = site.on_host("dpkg --verify | cat");
    let strange: Vec<&str> = changed
        .lines()
        .filter(|line| {
            let path = line.split_whitespace().last().unwrap_or_default();
            !own.contains(&path) && !plan.contains(&format!("\"path\": \"{path}\""))
        })
        .collect();
    assert!(
        strange.is_empty(),
        "not as their packages have them:\n{}",
        strange.join("\n")
    );
    site.saw("dpkg finds only managed files changed");
}
