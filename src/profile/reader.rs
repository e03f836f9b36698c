//! A cursor over TOML that knows where everything stands and which keys were asked for, so
//! that what nobody asked for is an error that points at it.

use super::names::is_name;
use super::notes::Notes;
use super::problem::{Place, Problem, Text, suggest};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One table of a text.
pub struct Table<'d> {
    notes: &'d Notes,
    text: &'d Text,
    data: &'d DeTable<'d>,
    span: Range<usize>,
    /// Path below which the places of its values are noted.
    pub path: String,
    /// How people see it: `[service]`, `[[step]]`.
    pub title: String,
    asked: RefCell<Vec<String>>,
}

/// Parses a document and reads it with `read`; syntax errors become problems.
pub fn document<T>(
    notes: &Notes,
    text: &Text,
    path: &str,
    read: impl FnOnce(&Table<'_>) -> T,
) -> Option<T> {
    let start = Place {
        text: text.clone(),
        span: 0..0,
    };
    notes.places.borrow_mut().insert(path.to_owned(), start);
    match DeTable::parse(&text.content) {
        Ok(data) => {
            let table = Table {
                notes,
                text,
                data: data.get_ref(),
                span: 0..0,
                path: path.to_owned(),
                title: "this file".to_owned(),
                asked: RefCell::default(),
            };
            let value = read(&table);
            table.done();
            Some(value)
        }
        Err(error) => {
            notes.problems.borrow_mut().push(Problem {
                what: "this is not TOML".to_owned(),
                place: Some(Place {
                    text: text.clone(),
                    span: error.span().unwrap_or(0..0),
                }),
                why: error.message().replace('\n', ", "),
                hint: None,
            });
            None
        }
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

impl<'d> Table<'d> {
    /// Whether the key is there. Does not count as asking.
    pub fn has(&self, key: &str) -> bool {
        self.data.contains_key(key)
    }

    /// Whether a table stands under the key. Does not count as asking.
    pub fn is_table(&self, key: &str) -> bool {
        matches!(
            self.data.get(key).map(Spanned::get_ref),
            Some(DeValue::Table(_))
        )
    }

    /// Adds a problem at a key of this table, or at the table itself.
    pub fn problem(&self, key: &str, what: String, why: String, hint: Option<String>) {
        let span = match self.data.get(key) {
            Some(value) => value.span(),
            None => self.span.clone(),
        };
        self.problem_at(span, what, why, hint);
    }

    fn problem_at(&self, span: Range<usize>, what: String, why: String, hint: Option<String>) {
        let place = Some(Place {
            text: self.text.clone(),
            span,
        });
        self.notes.problems.borrow_mut().push(Problem {
            what,
            place,
            why,
            hint,
        });
    }

    fn note(&self, path: String, span: Range<usize>) {
        let place = Place {
            text: self.text.clone(),
            span,
        };
        self.notes.places.borrow_mut().insert(path, place);
    }

    fn ask(&self, key: &str) -> Option<&'d Spanned<DeValue<'d>>> {
        let mut asked = self.asked.borrow_mut();
        if !asked.iter().any(|other| other == key) {
            asked.push(key.to_owned());
        }
        let value = self.data.get(key)?;
        self.note(format!("{}/{key}", self.path), value.span());
        Some(value)
    }

    fn wrong(&self, key: &str, value: &Spanned<DeValue<'_>>, expected: &str) {
        self.problem_at(
            value.span(),
            format!("`{key}` in {} must be {expected}", self.title),
            format!("this is {}", kind(value.get_ref())),
            None,
        );
    }

    /// Text under `key`.
    pub fn text(&self, key: &str) -> Option<String> {
        let value = self.ask(key)?;
        match value.get_ref().as_str() {
            Some(text) => Some(text.to_owned()),
            None => {
                self.wrong(key, value, "text");
                None
            }
        }
    }

    /// Text that must be there; empty after a problem.
    pub fn required(&self, key: &str) -> String {
        if !self.has(key) {
            self.ask(key);
            self.problem(
                key,
                format!("{} lacks `{key}`", self.title),
                format!("`{key}` is expected here"),
                None,
            );
            return String::new();
        }
        self.text(key).unwrap_or_default()
    }

    /// A name that must be there, `[a-z][a-z0-9-]*`.
    pub fn required_name(&self, key: &str) -> String {
        let name = self.required(key);
        if !name.is_empty() && !is_name(&name) {
            self.problem(
                key,
                format!("`{name}` is not a name"),
                "names are lower-case letters, digits and dashes, beginning with a letter".into(),
                None,
            );
        }
        name
    }

    /// Text, a number or a truth value, as text.
    pub fn scalar(&self, key: &str) -> Option<String> {
        let value = self.ask(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Integer(number) => Some(number.to_string()),
            DeValue::Boolean(truth) => Some(truth.to_string()),
            _ => {
                self.wrong(key, value, "text, a number, or true or false");
                None
            }
        }
    }

    /// A typed setting.
    pub fn setting(&self, key: &str) -> Option<super::SettingValue> {
        use super::SettingValue;
        let value = self.ask(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(SettingValue::Text(text.to_string())),
            DeValue::Boolean(truth) => Some(SettingValue::Bool(*truth)),
            DeValue::Integer(number) if number.radix() == 10 => {
                number.as_str().parse().ok().map(SettingValue::Integer)
            }
            _ => {
                self.wrong(key, value, "text, a decimal number, or true or false");
                None
            }
        }
    }

    /// `true` or `false` under `key`; `false` when absent.
    pub fn flag(&self, key: &str) -> bool {
        let Some(value) = self.ask(key) else {
            return false;
        };
        value.get_ref().as_bool().unwrap_or_else(|| {
            self.wrong(key, value, "true or false");
            false
        })
    }

    /// A whole number from `low` to `high`.
    pub fn number(&self, key: &str, low: u32, high: u32) -> Option<u32> {
        let value = self.ask(key)?;
        let number = match value.get_ref() {
            DeValue::Integer(number) => u32::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        match number {
            Some(number) if (low..=high).contains(&number) => Some(number),
            _ => {
                self.wrong(key, value, &format!("a whole number from {low} to {high}"));
                None
            }
        }
    }

    /// A number of bytes, at least one.
    pub fn bytes(&self, key: &str) -> Option<u64> {
        let value = self.ask(key)?;
        let number = match value.get_ref() {
            DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        // TOML's own integers end there.
        let sound = number.filter(|bytes| (1..=i64::MAX.unsigned_abs()).contains(bytes));
        if sound.is_none() {
            self.wrong(key, value, "a number of bytes, at least 1");
        }
        sound
    }

    /// A list of texts; empty when absent. A single text counts as a list of one.
    pub fn texts(&self, key: &str) -> Vec<String> {
        let Some(value) = self.ask(key) else {
            return Vec::new();
        };
        let items = match value.get_ref() {
            DeValue::Array(items) => items,
            _ => {
                self.wrong(key, value, "a list of texts");
                return Vec::new();
            }
        };
        let mut texts = Vec::new();
        for item in items.iter() {
            match item.get_ref().as_str() {
                Some(text) => {
                    self.note(format!("{}/{key}/{}", self.path, texts.len()), item.span());
                    texts.push(text.to_owned());
                }
                None => self.wrong(key, item, "a list of texts"),
            }
        }
        texts
    }

    fn child(
        &self,
        data: &'d DeTable<'d>,
        span: Range<usize>,
        path: String,
        title: String,
    ) -> Table<'d> {
        self.note(path.clone(), span.clone());
        Table {
            notes: self.notes,
            text: self.text,
            data,
            span,
            path,
            title,
            asked: RefCell::default(),
        }
    }

    fn inner_title(&self, key: &str) -> String {
        match self.title.trim_matches(['[', ']']) {
            "this file" => key.to_owned(),
            outer => format!("{outer}.{key}"),
        }
    }

    /// The table under `key`.
    pub fn table(&self, key: &str) -> Option<Table<'d>> {
        let value = self.ask(key)?;
        match value.get_ref() {
            DeValue::Table(data) => {
                let title = format!("[{}]", self.inner_title(key));
                Some(self.child(data, value.span(), format!("{}/{key}", self.path), title))
            }
            _ => {
                self.wrong(key, value, "a table");
                None
            }
        }
    }

    /// The table under `key`, which must be there.
    pub fn required_table(&self, key: &str) -> Option<Table<'d>> {
        if !self.has(key) {
            self.ask(key);
            let title = self.inner_title(key);
            self.problem(
                key,
                format!("[{title}] is missing"),
                "it says what this file is".into(),
                None,
            );
        }
        self.table(key)
    }

    /// The tables of the array under `key`.
    pub fn tables(&self, key: &str) -> Vec<Table<'d>> {
        let Some(value) = self.ask(key) else {
            return Vec::new();
        };
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong(key, value, "a list of tables");
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in items.iter() {
            match item.get_ref() {
                DeValue::Table(data) => {
                    let path = format!("{}/{key}/{}", self.path, tables.len());
                    let title = format!("[[{}]]", self.inner_title(key));
                    tables.push(self.child(data, item.span(), path, title));
                }
                _ => self.wrong(key, item, "a list of tables"),
            }
        }
        tables
    }

    /// The tables under `key` by name, `[key.<name>]`; names are checked with `rule`.
    pub fn named(&self, key: &str, rule: fn(&str) -> bool) -> Vec<(String, Table<'d>)> {
        let Some(outer) = self.table(key) else {
            return Vec::new();
        };
        let names: Vec<(&str, Range<usize>)> = outer
            .data
            .iter()
            .map(|(name, _)| (name.get_ref().as_ref(), name.span()))
            .collect();
        let mut named = Vec::new();
        for (name, span) in names {
            if !rule(name) {
                outer.problem_at(
                    span,
                    format!("`{name}` is not a name for [{key}.…]"),
                    "names are lower-case letters, digits and underscores or dashes".into(),
                    None,
                );
            }
            if let Some(table) = outer.table(name) {
                named.push((name.to_owned(), table));
            }
        }
        named
    }

    /// Says which keys there are, in the order in which errors list them.
    pub fn expects(&self, keys: &[&str]) {
        self.asked
            .borrow_mut()
            .extend(keys.iter().map(|key| (*key).to_owned()));
    }

    /// Keys that nobody asked for yet, with their spans.
    pub fn rest(&self) -> Vec<String> {
        let asked = self.asked.borrow();
        let keys = self.data.keys().map(|key| key.get_ref().to_string());
        keys.filter(|key| !asked.contains(key)).collect()
    }

    /// Every scalar under `key`, by name.
    pub fn scalars(&self, key: &str) -> BTreeMap<String, String> {
        let Some(table) = self.table(key) else {
            return BTreeMap::new();
        };
        let mut scalars = BTreeMap::new();
        for name in table.rest() {
            if let Some(value) = table.scalar(&name) {
                scalars.insert(name, value);
            }
        }
        scalars
    }

    /// Every list of texts under `key`, by name; a single text is a list of one.
    pub fn lists(&self, key: &str) -> BTreeMap<String, Vec<String>> {
        let Some(table) = self.table(key) else {
            return BTreeMap::new();
        };
        let mut lists = BTreeMap::new();
        for name in table.rest() {
            let list = match table.data.get(name.as_str()).map(Spanned::get_ref) {
                Some(DeValue::String(_)) => table.text(&name).into_iter().collect(),
                _ => table.texts(&name),
            };
            lists.insert(name, list);
        }
        lists
    }

    /// Ends reading: what nobody asked for is a problem.
    pub fn done(&self) {
        let asked = self.asked.borrow();
        for (key, _) in self.data.iter() {
            let name: &str = key.get_ref();
            if asked.iter().any(|other| other == name) {
                continue;
            }
            let expected = asked.iter().map(String::as_str);
            self.problem_at(
                key.span(),
                format!("unknown key `{name}` in {}", self.title),
                format!(
                    "expected one of: {}",
                    expected.clone().collect::<Vec<_>>().join(", ")
                ),
                suggest(name, expected),
            );
        }
    }
}

/// One of `choices` for `key`, by name.
pub fn choice<T: Copy>(
    table: &Table<'_>,
    key: &str,
    text: &str,
    choices: &[(&str, T)],
) -> Option<T> {
    let found = choices
        .iter()
        .find(|(name, _)| *name == text)
        .map(|(_, value)| *value);
    if found.is_none() {
        table.problem(
            key,
            format!("`{text}` is not a value of `{key}`"),
            format!(
                "expected one of: {}",
                choices
                    .iter()
                    .map(|(name, _)| *name)
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
            suggest(text, choices.iter().map(|(name, _)| *name)),
        );
    }
    found
}
