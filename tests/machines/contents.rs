//! What is on a host that has been brought up: the directory, the databases, the mail and all
//! configuration, in a form in which two hosts with the same answers are the same.

use crate::site::Site;
use std::collections::BTreeMap;

/// What stands at a place, by the place.
pub type Contents = BTreeMap<String, String>;

/// Asks the host.
pub fn of(site: &Site) -> Contents {
    parse(&site.on_host(LIST))
}

/// Reads what [`text`] wrote.
pub fn parse(text: &str) -> Contents {
    let lines = text.lines().filter_map(|line| line.split_once('\t'));
    lines
        .map(|(place, what)| (place.to_owned(), what.to_owned()))
        .collect()
}

/// One place a line.
pub fn text(contents: &Contents) -> String {
    let lines = contents.iter();
    lines
        .map(|(place, what)| format!("{place}\t{what}\n"))
        .collect()
}

/// Panics with every place that is not the same on both hosts.
pub fn same(one: &Contents, other: &Contents) {
    let places = one
        .keys()
        .chain(other.keys().filter(|place| !one.contains_key(*place)));
    let differences: Vec<String> = places
        .filter(|place| one.get(*place) != other.get(*place))
        .map(|place| {
            format!(
                "{place}\n    {:?}\n    {:?}",
                one.get(place),
                other.get(place)
            )
        })
        .collect();
    assert!(
        differences.is_empty(),
        "{} of {} places differ:\n{}",
        differences.len(),
        one.len(),
        differences.join("\n")
    );
}

/// Prints `place<TAB>what stands there`. Secrets stand as their names; what is random, or the
/// time, is left out.
const LIST: &str = r#"perl - <<'END'
use strict;
use warnings;
use Digest::SHA "sha256_hex";
use File::Find;
use MIME::Base64;

# Random, or made of the time: each host has its own.
my $own = qr{^(/usr/local/share/ca-certificates/muster-site-ca\.crt | /etc/( machine-id
    | ssh/ssh_host_.* | ssl/private/ssl-cert-snakeoil\.key | ssl/certs/ssl-cert-snakeoil\.pem
    | ssl/certs/ca-certificates\.crt | fstab | adjtime | ld\.so\.cache | .*\.pwd\.lock | hosts
    | systemd/network/10-muster\.network ))$}x;

sub slurp { my $file = shift; local $/; open my $in, "<:raw", $file or die "$file: $!"; my $text = <$in>; $text // "" }

my %secret;
find({ no_chdir => 1, wanted => sub {
    return unless -f;
    my $name = $_;
    my $clear = slurp($name);
    $clear =~ s/\n\z//;
    $secret{$clear} = "<$name>" if length $clear >= 12;
} }, "/var/lib/muster/secrets");
my $secrets = join "|", map quotemeta, sort { length $b <=> length $a } keys %secret;
sub named { my $text = shift; $text =~ s/($secrets)/$secret{$1}/g; $text }

for my $top ("/etc", "/var/lib/muster/rendered", "/usr/local", "/srv", "/opt") {
    next unless -d $top;
    find({ no_chdir => 1, wanted => sub {
        my $path = $_;
        my ($mode, $uid, $gid) = (lstat $path)[2, 4, 5];
        my $what = sprintf "%o %s:%s ", $mode, getpwuid($uid) // $uid, getgrgid($gid) // $gid;
        if (-l $path) { $what .= readlink $path }
        elsif (-f $path) { $what .= $path =~ $own ? "its own" : sha256_hex(named(slurp($path))) }
        print "$path\t$what\n";
    } }, $top);
}

# The directory: operational attributes and salted hashes are of this host.
my $ldif = `slapcat -o ldif-wrap=no 2>/dev/null`;
for my $entry (split /\n\n+/, $ldif) {
    my @lines = grep { !/^(entryUUID|entryCSN|contextCSN|createTimestamp|modifyTimestamp|pwdChangedTime|structuralObjectClass|creatorsName|modifiersName|\#)/ } split /\n/, $entry;
    s/^userPassword::? .*/userPassword: its own/ for @lines;
    my ($dn) = map { /^dn:+ (.*)/ ? $1 : () } @lines or next;
    print "directory $dn\t", named(join "; ", sort @lines), "\n";
}

# The databases: salted passwords, sessions, caches and what only counts are of this host.
my $table = "cluster";
my (%rows, $in);
for (split /\n/, `cd /; runuser -u postgres -- pg_dumpall --restrict-key=x 2>/dev/null || runuser -u postgres -- pg_dumpall`) {
    $table = "database $1" if /^\\connect (?:-reuse-previous=on ")?(\S+)/;
    if (/^COPY (\S+)/) { $in = $1; next }
    if (/^\\\.$/) { undef $in; next }
    next if /^--|^\s*$|^\\(un)?restrict|pg_catalog\.setval/;
    next if defined $in && $in =~ /^\S*\b(session|cache\w*|users|identities|user_data|collected_addresses|contacts)$/;
    s/SCRAM-SHA-256\S*/its own'/;
    push @{ $rows{defined $in ? "$table $in" : $table} }, named($_);
}
print "$_\t", sha256_hex(join "\n", sort @{ $rows{$_} }), " of ", scalar @{ $rows{$_} }, " lines\n" for sort keys %rows;

# The mail: mailboxes, and what is in them but for the messages probes send each other.
find({ no_chdir => 1, wanted => sub {
    return unless -d && /\/(cur|new)$/;
    my $box = $_;
    my @subjects;
    for my $file (glob("$box/*")) {
        my ($head) = split /\r?\n\r?\n/, slurp($file);
        my ($subject) = $head =~ /^Subject: (.*?)\r?$/mi;
        push @subjects, $subject // "?" unless ($subject // "") =~ /probe/i;
    }
    print "mail $box\t@{[sort @subjects]}\n";
} }, "/var/vmail");
END"#;
