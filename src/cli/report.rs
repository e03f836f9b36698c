//! Errors of the rooms as reports: what, where, why, and what to do.

use super::exit;
use crate::packages::PackagesError;
use crate::profile::ProfileError;
use crate::profile::problem::Problem;
use miette::{Diagnostic, LabeledSpan, NamedSource, Report, SourceCode};
use std::fmt;

/// A [`Problem`] with its snippet.
#[derive(Debug)]
struct Pointed {
    problem: Problem,
    source: Option<NamedSource<String>>,
}

impl Pointed {
    fn new(problem: Problem) -> Self {
        let source = problem.place.as_ref().map(|place| {
            NamedSource::new(&place.text.name, place.text.content.to_string()).with_language("toml")
        });
        Pointed { problem, source }
    }
}

impl fmt::Display for Pointed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem.what)?;
        // It stands under the snippet, if there is one.
        match (&self.problem.place, self.problem.why.as_str()) {
            (None, why) if !why.is_empty() => write!(f, "\n{why}"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for Pointed {}

impl Diagnostic for Pointed {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let hint = self.problem.hint.as_ref()?;
        Some(Box::new(hint))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let place = self.problem.place.as_ref()?;
        let why = Some(self.problem.why.clone()).filter(|why| !why.is_empty());
        let label = LabeledSpan::new_with_span(why, one_line(place));
        Some(Box::new(std::iter::once(label)))
    }
}

/// The first line of the place: a label over a whole table would hide it.
fn one_line(place: &crate::profile::problem::Place) -> std::ops::Range<usize> {
    let end = place.span.end.min(place.text.content.len());
    let start = place.span.start.min(end);
    let line = place.text.content[start..end]
        .split('\n')
        .next()
        .unwrap_or_default();
    start..start + line.len()
}

/// Several problems, each with its own snippet.
#[derive(Debug)]
struct Several {
    summary: String,
    problems: Vec<Pointed>,
}

impl fmt::Display for Several {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary)
    }
}

impl std::error::Error for Several {}

impl Diagnostic for Several {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(
            self.problems
                .iter()
                .map(|problem| problem as &dyn Diagnostic),
        ))
    }
}

/// A stack that is not there, or a file that cannot be read.
#[derive(Debug)]
struct Plain {
    what: String,
    hint: Option<String>,
}

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Plain {}

impl Diagnostic for Plain {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let hint = self.hint.as_ref()?;
        Some(Box::new(hint))
    }
}

/// A profile error as a report.
pub fn profile(error: ProfileError) -> Report {
    match error {
        ProfileError::Invalid { problems } => {
            let mut problems: Vec<Pointed> = problems.into_iter().map(Pointed::new).collect();
            match problems.len() {
                1 => problems.remove(0).into(),
                number => Several {
                    summary: format!("{number} things are wrong"),
                    problems,
                }
                .into(),
            }
        }
        ProfileError::NoStack { name, known, hint } => {
            let what = format!("there is no stack `{name}`\nstacks: {}", known.join(", "));
            Plain {
                what,
                hint: Some(hint),
            }
            .into()
        }
        other => Plain {
            what: other.to_string(),
            hint: other.hint(),
        }
        .into(),
    }
}

/// Something said in one sentence, and what to do about it.
pub fn plain(what: String, hint: Option<String>) -> Report {
    Plain { what, hint }.into()
}

/// A command line that makes no sense, which only its command could see: exit code 2.
#[derive(Debug)]
struct Usage(Plain);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Usage {}

impl Diagnostic for Usage {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.0.help()
    }
}

/// Options that do not go together or name what is not there: exit code 2.
pub fn usage(what: String, hint: String) -> Report {
    let hint = Some(hint);
    Usage(Plain { what, hint }).into()
}

/// An archive, lock or fetch that failed, as a report: exit code 3 when a file of the person's
/// is wrong, else 1.
pub fn packages(error: PackagesError) -> Report {
    let hint = error.hint();
    if error.is_invalid_input() {
        return plain(error.to_string(), hint.map(str::to_owned));
    }
    match hint {
        Some(hint) => miette::miette!(help = hint, "{error}"),
        None => miette::miette!("{error}"),
    }
}

/// An image that could not be made, as a report: exit code 1.
pub fn image(error: crate::image::Error) -> Report {
    match error.hint().as_str() {
        "" => miette::miette!("{error}"),
        hint => miette::miette!(help = hint.to_owned(), "{error}"),
    }
}

/// The exit code for a report: 2 when the command line is wrong, 3 when a file is, else 1.
pub fn exit_code(report: &Report) -> u8 {
    if report.is::<Usage>() {
        return exit::USAGE;
    }
    let invalid = report.is::<Pointed>() || report.is::<Several>() || report.is::<Plain>();
    if invalid {
        exit::INVALID
    } else {
        exit::FAILURE
    }
}

/// A profile error as JSON: a list of what, file, line, why and hint.
pub fn problems(error: &ProfileError) -> serde_json::Value {
    let ProfileError::Invalid { problems } = error else {
        let hint = match error {
            ProfileError::NoStack { hint, .. } => Some(hint),
            _ => None,
        };
        return serde_json::json!([{
            "what": error.to_string(),
            "file": null,
            "line": null,
            "why": "",
            "hint": hint,
        }]);
    };
    let one = |problem: &Problem| {
        serde_json::json!({
            "what": problem.what,
            "file": problem.place.as_ref().map(|place| place.text.name.to_string()),
            "line": problem.place.as_ref().map(|place| place.line()),
            "why": problem.why,
            "hint": problem.hint,
        })
    };
    problems.iter().map(one).collect()
}
