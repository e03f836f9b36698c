//! What reading finds out beside the values themselves.

use super::problem::{Place, Problem};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// What reading finds: problems, and where each value stands.
#[derive(Debug, Default)]
pub struct Notes {
    /// In the order found.
    pub problems: RefCell<Vec<Problem>>,
    /// Path of a value (`service/nginx/port/0/number`) → its place.
    pub places: RefCell<BTreeMap<String, Place>>,
}

impl Notes {
    /// Adds a problem at the value with this path, or at the nearest value above it.
    pub fn problem(&self, path: &str, what: String, why: String, hint: Option<String>) {
        self.problem_in(self.place(path), what, why, hint);
    }

    /// Adds a problem.
    pub fn problem_in(
        &self,
        place: Option<Place>,
        what: String,
        why: String,
        hint: Option<String>,
    ) {
        self.problems.borrow_mut().push(Problem {
            what,
            place,
            why,
            hint,
        });
    }

    /// The place of a value, or of the nearest value above it.
    pub fn place(&self, path: &str) -> Option<Place> {
        let places = self.places.borrow();
        let mut path = path;
        loop {
            if let Some(place) = places.get(path) {
                return Some(place.clone());
            }
            path = &path[..path.rfind('/')?];
        }
    }
}
