//! From package files to a configured root, in two rounds: the essential set, which must be
//! there before any script can run, and then everything else.

use super::accounts::Accounts;
use super::deb::Store;
use super::diversion::Diversions;
use super::dpkg::{Database, Interests};
use super::error::Error;
use super::fence::Fence;
use super::member::names;
use super::overlay;
use super::program::Programs;
use super::standin;
use super::unpack::{Loaded, Unpacked, Unpacker};
use crate::profile::{Account, OverlayFile};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Programs that do nothing while packages are configured: the initial RAM filesystem is made
/// once at the end, and keys are made on the host.
const NOT_NOW: [&str; 3] = [
    "/usr/sbin/update-initramfs",
    "/usr/bin/ssh-keygen",
    "/usr/sbin/make-ssl-cert",
];

/// What a root is configured from.
#[derive(Debug)]
pub struct Ingredients<'a> {
    /// Name of the role, for messages.
    pub role: &'a str,
    /// The bootstrap set in order.
    pub essential: &'a [Loaded<'a>],
    /// All others in order.
    pub others: &'a [Loaded<'a>],
    /// Packages asked for by name.
    pub manual: &'a [String],
    /// debconf selections.
    pub preseed: &'a [String],
    /// Files of the overlays.
    pub overlay: &'a BTreeMap<&'a str, &'a OverlayFile>,
    /// Table of system accounts.
    pub accounts: &'a [Account],
    /// dpkg architecture.
    pub architecture: &'a str,
}

/// Configures the root that this process has entered.
pub fn configure(
    ingredients: &Ingredients,
    store: &Store,
    fence: &mut Fence,
    programs: &Programs,
    step: &dyn Fn(&str),
) -> Result<(), Error> {
    let root = Path::new("/");
    let database = Database::new(root);
    let Ingredients {
        role,
        essential,
        others,
        accounts: table,
        ..
    } = *ingredients;
    let essential: Vec<&Loaded> = essential.iter().collect();
    let others: Vec<&Loaded> = others.iter().collect();
    let all: Vec<&Loaded> = essential.iter().chain(&others).copied().collect();
    let unpacker = Unpacker::new(root, &all);
    let round = Round {
        database: &database,
        programs,
        unpacker: &unpacker,
        store,
    };

    step(&format!(
        "unpack the {} packages everything needs",
        essential.len()
    ));
    database.create()?;
    let unpacked = unpacker.unpack(store, &essential, &Diversions::default())?;
    round.record(&essential, &essential, unpacked)?;
    fs::write(POLICY, "#!/bin/sh\nexit 101\n")
        .and_then(|()| fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755)))
        .map_err(Error::io("cannot write", POLICY))?;
    fence.cover("/usr/sbin/start-stop-daemon")?;
    step("configure them");
    // base-passwd brings the accounts that all other scripts take for granted.
    let passwd = essential
        .iter()
        .filter(|loaded| loaded.package.name == "base-passwd");
    let rest = essential
        .iter()
        .filter(|loaded| loaded.package.name != "base-passwd");
    for loaded in passwd.chain(rest) {
        round.preinst(loaded)?;
    }
    if essential
        .iter()
        .any(|loaded| loaded.package.name == "base-passwd")
    {
        let argv = [
            "/usr/bin/dpkg",
            "--configure",
            "--force-depends",
            "base-passwd",
        ];
        programs.run("configuring base-passwd", &argv)?;
    }
    round.configure(role)?;

    step(&format!("unpack the other {} packages", others.len()));
    round.unpack_others(&others, &all)?;
    let states = super::dpkg::extended_states(
        all.iter().copied(),
        ingredients.manual,
        ingredients.architecture,
    );
    let path = root.join("var/lib/apt/extended_states");
    if path.parent().is_some_and(Path::is_dir) {
        fs::write(&path, states).map_err(Error::io("cannot write", &path))?;
    }
    for program in NOT_NOW {
        fence.cover(program)?;
    }
    for program in standin::known()? {
        fence.stand_in(program)?;
    }
    step("configure them");
    let mut accounts = Accounts::new(root, table);
    accounts.create_for(&all)?;
    accounts.open_pool()?;
    if !ingredients.preseed.is_empty() {
        let selections = ingredients.preseed.join("\n") + "\n";
        let argv = ["/usr/bin/debconf-set-selections"];
        programs.run_with("setting the debconf selections", &argv, &[], &selections)?;
    }
    overlay::before_configuration(ingredients.overlay)?;
    round.configure(role)?;
    accounts.close_pool()?;
    fs::remove_file(POLICY).map_err(Error::io("cannot remove", POLICY))
}

/// Makes the accounts that overlays ask for (sysusers.d(5)), and then compares all accounts of
/// the root with the table.
pub fn settle_accounts(ingredients: &Ingredients, programs: &Programs) -> Result<(), Error> {
    let packages: Vec<&Loaded> = ingredients
        .essential
        .iter()
        .chain(ingredients.others)
        .collect();
    let accounts = Accounts::new(Path::new("/"), ingredients.accounts);
    accounts.create_for(&[])?;
    let tool = "/usr/bin/systemd-sysusers";
    if Path::new(tool).exists() {
        programs.run("making the accounts of sysusers.d", &[tool])?;
    }
    accounts.check(ingredients.role, &packages)
}

struct Round<'a> {
    database: &'a Database,
    programs: &'a Programs,
    unpacker: &'a Unpacker,
    store: &'a Store,
}

impl Round<'_> {
    /// Unpacks all other packages: those without a `preinst` at once, the rest in groups in
    /// which nobody's `preinst` needs (`Pre-Depends`) a member of its own group.
    fn unpack_others(&self, others: &[&Loaded], all: &[&Loaded]) -> Result<(), Error> {
        let (scripted, plain): (Vec<&Loaded>, Vec<&Loaded>) = others
            .iter()
            .partition(|loaded| loaded.control.files.contains_key("preinst"));
        let mut groups: Vec<Vec<&Loaded>> = vec![plain];
        let mut waiting = BTreeSet::new();
        for loaded in scripted {
            let needs = loaded.control.field("Pre-Depends").unwrap_or_default();
            if groups.len() == 1 || names(needs).any(|name| waiting.contains(name)) {
                groups.push(Vec::new());
                waiting.clear();
            }
            waiting.insert(loaded.package.name.as_str());
            if let Some(group) = groups.last_mut() {
                group.push(loaded);
            }
        }
        for group in groups {
            for loaded in &group {
                self.preinst(loaded)?;
            }
            let diversions = Diversions::parse(&self.database.read("diversions")?);
            let unpacked = self.unpacker.unpack(self.store, &group, &diversions)?;
            self.record(&group, all, unpacked)?;
        }
        Ok(())
    }

    fn record(
        &self,
        packages: &[&Loaded],
        known: &[&Loaded],
        mut unpacked: Vec<Unpacked>,
    ) -> Result<(), Error> {
        for (loaded, unpacked) in packages.iter().zip(&mut unpacked) {
            let lost = self.unpacker.lost(&loaded.package.name);
            unpacked.list.retain(|path| !lost.contains(path));
        }
        let pairs: Vec<(&Loaded, &Unpacked)> =
            packages.iter().copied().zip(unpacked.iter()).collect();
        self.database.record(&pairs)?;
        self.database
            .triggers(&Interests::of(known.iter().copied()), &pairs)
    }

    fn preinst(&self, loaded: &Loaded) -> Result<(), Error> {
        if !loaded.control.files.contains_key("preinst") {
            return Ok(());
        }
        self.database.stage(loaded)?;
        let name = loaded.package.name.as_str();
        let environment = [
            ("DPKG_MAINTSCRIPT_PACKAGE", name),
            ("DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT", "1"),
            (
                "DPKG_MAINTSCRIPT_ARCH",
                loaded.package.architecture.as_str(),
            ),
            ("DPKG_MAINTSCRIPT_NAME", "preinst"),
            ("DPKG_MAINTSCRIPT_DEBUG", "0"),
            ("DPKG_RUNNING_VERSION", "1.21.22"),
            ("DPKG_ADMINDIR", "/var/lib/dpkg"),
            ("DPKG_FORCE", "unsafe-io"),
            ("DPKG_ROOT", ""),
        ];
        let what = format!("the preinst script of {name}");
        let argv = ["/var/lib/dpkg/tmp.ci/preinst", "install"];
        self.programs.run_with(&what, &argv, &environment, "")?;
        self.database.unstage()
    }

    fn configure(&self, role: &str) -> Result<(), Error> {
        let argv = [
            "/usr/bin/dpkg",
            "--configure",
            "--pending",
            "--force-unsafe-io",
            "--force-confdef",
            "--force-confnew",
        ];
        self.programs
            .run(&format!("configuring the packages of {role}"), &argv)?;
        match self.database.unconfigured()?.as_slice() {
            [] => Ok(()),
            left => {
                let left: Vec<String> = left
                    .iter()
                    .map(|(name, status)| format!("{name} is `{status}`"))
                    .collect();
                Err(Error::Layout(format!(
                    "packages were left unconfigured: {}",
                    left.join(", ")
                )))
            }
        }
    }
}
