//! apt archives: signed indexes, versions, dependencies and the closure of a role.

pub mod archive;
pub mod deb822;
pub mod dependency;
pub mod index;
pub mod mirror;
pub mod openpgp;
pub mod order;
pub mod pin;
pub mod release;
pub mod resolver;
pub mod version;
