//! From package files to a configured root, in rounds: the essential set, which must be there
//! before any script can run, the other packages of the base, and those of the role.

use super::accounts::Accounts;
use super::diversion::Diversions;
use super::dpkg::{Database, Interests};
use super::error::Error;
use super::fence::Fence;
use super::job::Job;
use super::member::names;
use super::overlay;
use super::program::Programs;
use super::standin;
use super::store::Store;
use super::unpack::{Loaded, Unpacked, Unpacker};
use crate::profile::{Account, Exclude, OverlayFile};
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

/// What one layer of a root is configured from.
#[derive(Debug)]
pub struct Ingredients<'a> {
    /// Whose packages they are, for messages.
    pub of: &'a str,
    /// Packages that are configured already.
    pub known: &'a [&'a Loaded<'a>],
    /// The packages in order.
    pub packages: &'a [&'a Loaded<'a>],
    /// Packages asked for by name.
    pub manual: &'a [String],
    /// debconf selections.
    pub preseed: &'a [String],
    /// Files of the overlays that are there before packages configure.
    pub early: &'a BTreeMap<&'a str, &'a OverlayFile>,
    /// What stays out of the packages.
    pub exclude: &'a Exclude,
    /// Table of system accounts.
    pub accounts: &'a [Account],
    /// dpkg architecture.
    pub architecture: &'a str,
}

/// With what they are configured.
#[derive(Clone, Copy)]
pub struct Tools<'a> {
    /// The cache.
    pub store: &'a Store,
    /// Runs programs.
    pub programs: &'a Programs,
    /// Says what is begun.
    pub step: &'a dyn Fn(&str),
}

/// Unpacks and configures the bootstrap set, in the empty root that this process has entered.
pub fn bootstrap(
    packages: &[&Loaded],
    of: &str,
    exclude: &Exclude,
    fence: &mut Fence,
    tools: Tools,
) -> Result<(), Error> {
    let root = Path::new("/");
    let database = Database::new(root);
    let round = Round {
        database: &database,
        unpacker: &Unpacker::new(root, packages, exclude),
        tools,
    };
    (tools.step)(&format!(
        "unpack the {} packages everything needs",
        packages.len()
    ));
    database.create()?;
    let unpacked = round
        .unpacker
        .unpack(tools.store, packages, &Diversions::default())?;
    round.record(packages, packages, unpacked)?;
    forbid_services(fence)?;
    (tools.step)("configure them");
    // base-passwd brings the accounts that all other scripts take for granted.
    let (first, rest): (Vec<&Loaded>, Vec<&Loaded>) = packages
        .iter()
        .partition(|loaded| loaded.package.name == "base-passwd");
    for loaded in first.iter().chain(&rest) {
        round.preinst(loaded)?;
    }
    if !first.is_empty() {
        let argv = [
            "/usr/bin/dpkg",
            "--configure",
            "--force-depends",
            "base-passwd",
        ];
        tools.programs.run("configuring base-passwd", &argv)?;
    }
    round.configure(of)
}

/// Unpacks and configures further packages in the root that this process has entered.
pub fn add(ingredients: &Ingredients, fence: &mut Fence, tools: Tools) -> Result<(), Error> {
    let root = Path::new("/");
    let database = Database::new(root);
    let Ingredients {
        of,
        known,
        packages,
        accounts: table,
        ..
    } = *ingredients;
    let all: Vec<&Loaded> = known.iter().chain(packages).copied().collect();
    let round = Round {
        database: &database,
        unpacker: &Unpacker::above(root, known, packages, ingredients.exclude)?,
        tools,
    };
    (tools.step)(&format!(
        "unpack the other {} packages of {of}",
        packages.len()
    ));
    forbid_services(fence)?;
    round.unpack_others(packages, &all)?;
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
    (tools.step)("configure them");
    let mut accounts = Accounts::new(root, table);
    accounts.create_for(packages)?;
    accounts.open_pool()?;
    if !ingredients.preseed.is_empty() {
        let selections = ingredients.preseed.join("\n") + "\n";
        let argv = ["/usr/bin/debconf-set-selections"];
        let what = "setting the debconf selections";
        tools.programs.run_with(what, &argv, &[], &selections)?;
    }
    overlay::before_configuration(ingredients.early)?;
    round.configure(of)?;
    accounts.close_pool()?;
    fs::remove_file(POLICY).map_err(Error::io("cannot remove", POLICY))
}

/// Keeps scripts from starting what they have installed.
fn forbid_services(fence: &mut Fence) -> Result<(), Error> {
    fs::write(POLICY, "#!/bin/sh\nexit 101\n")
        .and_then(|()| fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755)))
        .map_err(Error::io("cannot write", POLICY))?;
    fence.cover("/usr/sbin/start-stop-daemon")
}

/// Makes the accounts that overlays ask for (sysusers.d(5)), and then compares all accounts of
/// the root with the table. `packages` loads those of the root, to name who makes an account
/// that is not in it.
pub fn settle_accounts<'a>(
    job: &Job,
    packages: impl FnOnce() -> Result<Vec<Loaded<'a>>, Error>,
    programs: &Programs,
) -> Result<(), Error> {
    let accounts = Accounts::new(Path::new("/"), &job.lock.accounts);
    accounts.create_for(&[])?;
    let tool = "/usr/bin/systemd-sysusers";
    if Path::new(tool).exists() {
        programs.run("making the accounts of sysusers.d", &[tool])?;
    }
    if accounts.check(&job.role, &[]).is_ok() {
        return Ok(());
    }
    let packages = packages()?;
    accounts.check(&job.role, &packages.iter().collect::<Vec<_>>())
}

struct Round<'a> {
    database: &'a Database,
    unpacker: &'a Unpacker,
    tools: Tools<'a>,
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
            let unpacked = self
                .unpacker
                .unpack(self.tools.store, &group, &diversions)?;
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
        // Of packages that were recorded before, too.
        for (package, paths) in self.unpacker.taken(packages) {
            self.database.take_from(&package, &paths)?;
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
        self.tools
            .programs
            .run_with(&what, &argv, &environment, "")?;
        self.database.unstage()
    }

    fn configure(&self, of: &str) -> Result<(), Error> {
        let argv = [
            "/usr/bin/dpkg",
            "--configure",
            "--pending",
            "--force-unsafe-io",
            "--force-confdef",
            "--force-confnew",
        ];
        self.tools
            .programs
            .run(&format!("configuring the packages of {of}"), &argv)?;
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
