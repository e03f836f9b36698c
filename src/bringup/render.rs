//! A task's templates to the values of this site.

use super::context::{self, Facts, View};
use super::filters::{ldap_escape, sha512_crypt, sql_quote};
use crate::plan::{Task, TaskKind};
use crate::profile::{Action, Instance, Probe};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Why a task could not be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// A template is wrong.
    #[error("{template}, line {line}: {reason}")]
    Template {
        /// Overlay path of the template, or the task and the key that holds it.
        template: String,
        /// Counted from one.
        line: usize,
        /// What is wrong, and with which words of the template.
        reason: String,
    },
    /// `each` gave something that is no list.
    #[error("{template}: `each` must give a JSON list: {reason}")]
    Each {
        /// The task.
        template: String,
        /// What is wrong.
        reason: String,
    },
    /// A file step names a template that its service's overlay does not hold.
    #[error("{task}: the overlay of {service} has no file {template}")]
    NoTemplate {
        /// The task.
        task: String,
        /// Whose overlay.
        service: String,
        /// Overlay path.
        template: String,
    },
}

/// Renders with strict rules: what is not defined is an error, never an empty string.
#[derive(Debug)]
pub struct Renderer {
    /// What is known.
    pub facts: Arc<Facts>,
    environment: Environment<'static>,
}

impl Renderer {
    /// A renderer for these facts.
    pub fn new(facts: Arc<Facts>) -> Arc<Renderer> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_syntax(syntax());
        environment.set_debug(true);
        environment.add_filter("ldap_escape", |text: &str| ldap_escape(text));
        environment.add_filter("sql_quote", |text: &str| sql_quote(text));
        environment.add_function("sha512_crypt", sha512_crypt);
        let known = Arc::clone(&facts);
        environment.add_function("route", move |host: &str| {
            format!("{host}.{}", known.domain())
        });
        let known = Arc::clone(&facts);
        environment.add_function("aliases", move |host: &str| {
            known.site.aliases.get(host).cloned().unwrap_or_default()
        });
        Arc::new(Renderer { facts, environment })
    }

    /// Renders one template; errors keep its name and line.
    pub fn text(
        self: &Arc<Self>,
        name: &str,
        template: &str,
        view: &View,
    ) -> Result<String, Error> {
        if !template.contains(['{', '}']) {
            return Ok(template.to_string());
        }
        self.environment
            .template_from_named_str(name, template)
            .and_then(|parsed| parsed.render(context::context(self, view)))
            .map_err(|error| match error.name() {
                // An error from a template inside this one keeps its own place.
                Some(inner) if inner != name => error,
                _ => located(error, name, template),
            })
    }

    fn whole(
        self: &Arc<Self>,
        name: &str,
        template: &str,
        view: &View,
    ) -> Result<String, RenderError> {
        self.text(name, template, view).map_err(|error| {
            let (place, reason) = words(&error);
            let (template, line) = place.unwrap_or((name.to_string(), 1));
            RenderError::Template {
                template,
                line,
                reason: self.facts.redact(&reason),
            }
        })
    }

    fn view(&self, task: &Task, probing: bool) -> View {
        let directory = self
            .facts
            .stack
            .services
            .get(&task.instance.service)
            .is_some_and(|service| {
                service
                    .provides
                    .values()
                    .any(|provide| provide.interface == "ldap")
            });
        let (grant, edge) = match task.kind {
            TaskKind::Step { .. } => (task.integration, None),
            TaskKind::Probe { .. } => (None, task.integration),
        };
        View {
            grant,
            edge,
            probing: probing || directory,
            ..View::of(&task.instance)
        }
    }

    /// The actions of a step: none when `when` says no, several with `each`.
    pub fn step(self: &Arc<Self>, task: &Task) -> Result<Vec<Action>, RenderError> {
        let TaskKind::Step {
            when, each, step, ..
        } = &task.kind
        else {
            return Ok(Vec::new());
        };
        let view = self.view(task, matches!(step, Action::Wait { .. }));
        let views = match each {
            None => vec![view],
            Some(each) => self
                .items(task, each, &view)?
                .into_iter()
                .map(|item| View {
                    item: Some(item),
                    ..view.clone()
                })
                .collect(),
        };
        let mut actions = Vec::new();
        for view in views {
            let one = One {
                renderer: self,
                task,
                view: &view,
            };
            let wanted = match when {
                None => true,
                Some(when) => {
                    let said = one.text("when", when)?;
                    !matches!(
                        said.trim(),
                        "" | "false" | "False" | "none" | "None" | "[]" | "0"
                    )
                }
            };
            if wanted {
                actions.push(one.action(step)?);
            }
        }
        Ok(actions)
    }

    fn items(
        self: &Arc<Self>,
        task: &Task,
        each: &str,
        view: &View,
    ) -> Result<Vec<Value>, RenderError> {
        let name = format!("{} (each)", task.id);
        let text = self.whole(&name, each, view)?;
        let wrong = |error: serde_json::Error| RenderError::Each {
            template: task.id.clone(),
            reason: error.to_string(),
        };
        let items: Vec<serde_json::Value> = serde_json::from_str(&text).map_err(wrong)?;
        Ok(items.iter().map(item).collect())
    }

    /// A probe with its arguments.
    pub fn probe(self: &Arc<Self>, task: &Task) -> Result<Option<Probe>, RenderError> {
        let TaskKind::Probe { probe } = &task.kind else {
            return Ok(None);
        };
        let view = self.view(task, true);
        let one = One {
            renderer: self,
            task,
            view: &view,
        };
        one.probe(probe).map(Some)
    }

    /// The names of each certificate of a service, empty ones dropped.
    pub fn certificate_names(
        self: &Arc<Self>,
        instance: &Instance,
    ) -> Result<BTreeMap<String, Vec<String>>, RenderError> {
        let mut all = BTreeMap::new();
        let Some(service) = self.facts.stack.services.get(&instance.service) else {
            return Ok(all);
        };
        let view = View::of(instance);
        for (key, certificate) in &service.certificates {
            let mut names = Vec::new();
            for template in &certificate.names {
                let name = format!("{instance}/certificates.{key}");
                let rendered = self.whole(&name, template, &view)?;
                // One template may give several names.
                names.extend(
                    rendered
                        .split([' ', ',', '\n'])
                        .map(str::trim)
                        .filter(|name| !name.is_empty())
                        .map(str::to_string),
                );
            }
            all.insert(key.clone(), names);
        }
        Ok(all)
    }
}

/// A file keeps the newline at its end.
fn syntax() -> SyntaxConfig {
    SyntaxConfig::builder()
        .keep_trailing_newline(true)
        .build()
        .unwrap_or_default()
}

/// A value of a JSON list as templates see it.
fn item(json: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match json {
        Json::Null => Value::from(()),
        Json::Bool(value) => Value::from(*value),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Value::from(number),
            None => Value::from(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::from(text),
        Json::Array(list) => list.iter().map(item).collect::<Vec<_>>().into(),
        Json::Object(map) => {
            let map: BTreeMap<String, Value> = map
                .iter()
                .map(|(key, value)| (key.clone(), item(value)))
                .collect();
            Value::from(map)
        }
    }
}

/// One task (or one item of it) being rendered.
struct One<'a> {
    renderer: &'a Arc<Renderer>,
    task: &'a Task,
    view: &'a View,
}

impl One<'_> {
    fn text(&self, key: &str, template: &str) -> Result<String, RenderError> {
        let name = format!("{} ({key})", self.task.id);
        self.renderer.whole(&name, template, self.view)
    }

    fn maybe(&self, key: &str, template: &Option<String>) -> Result<Option<String>, RenderError> {
        template
            .as_ref()
            .map(|text| self.text(key, text))
            .transpose()
    }

    fn list(&self, key: &str, templates: &[String]) -> Result<Vec<String>, RenderError> {
        templates.iter().map(|text| self.text(key, text)).collect()
    }

    fn map(
        &self,
        key: &str,
        templates: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>, RenderError> {
        templates
            .iter()
            .map(|(name, text)| Ok((name.clone(), self.text(&format!("{key}.{name}"), text)?)))
            .collect()
    }

    fn lists(
        &self,
        key: &str,
        templates: &BTreeMap<String, Vec<String>>,
    ) -> Result<BTreeMap<String, Vec<String>>, RenderError> {
        templates
            .iter()
            .map(|(name, texts)| Ok((name.clone(), self.list(&format!("{key}.{name}"), texts)?)))
            .collect()
    }

    fn probe(&self, probe: &Probe) -> Result<Probe, RenderError> {
        Ok(Probe {
            id: probe.id.clone(),
            probe: probe.probe.clone(),
            with: self.map("probe", &probe.with)?,
        })
    }

    fn content(&self, template: &str) -> Result<String, RenderError> {
        let service = &self.task.instance.service;
        let stack = &self.renderer.facts.stack;
        let file = stack
            .services
            .get(service)
            .and_then(|service| service.overlay.get(template))
            .ok_or_else(|| RenderError::NoTemplate {
                task: self.task.id.clone(),
                service: service.clone(),
                template: template.to_string(),
            })?;
        let name = format!("{}: overlays/{service}{template}", self.task.id);
        self.renderer.whole(&name, &file.content, self.view)
    }

    fn action(&self, action: &Action) -> Result<Action, RenderError> {
        Ok(match action {
            Action::File {
                path,
                template,
                content,
                mode,
                owner,
            } => Action::File {
                path: self.text("file", path)?,
                template: None,
                content: Some(match (content, template) {
                    (Some(content), _) => self.text("content", content)?,
                    (None, Some(template)) => self.content(template)?,
                    (None, None) => self.content(&format!("{path}.j2"))?,
                }),
                mode: self.text("mode", mode)?,
                owner: self.text("owner", owner)?,
            },
            Action::Directory { path, mode, owner } => Action::Directory {
                path: self.text("directory", path)?,
                mode: self.text("mode", mode)?,
                owner: self.text("owner", owner)?,
            },
            Action::Link { path, to } => Action::Link {
                path: self.text("link", path)?,
                to: self.text("to", to)?,
            },
            Action::Absent { path } => Action::Absent {
                path: self.text("absent", path)?,
            },
            Action::Unit { unit, state, watch } => Action::Unit {
                unit: self.text("unit", unit)?,
                state: *state,
                watch: watch.clone(),
            },
            Action::Command {
                command,
                unless,
                user,
                stdin,
                environment,
                directory,
            } => Action::Command {
                command: self.list("command", command)?,
                unless: self.list("unless", unless)?,
                user: self.maybe("user", user)?,
                stdin: self.maybe("stdin", stdin)?,
                environment: self.map("environment", environment)?,
                directory: self.maybe("directory", directory)?,
            },
            Action::Sql {
                database,
                sql,
                unless,
            } => Action::Sql {
                database: self.maybe("database", database)?,
                sql: self.text("sql", sql)?,
                unless: self.maybe("unless", unless)?,
            },
            Action::Ldap {
                dn,
                attributes,
                initial,
            } => Action::Ldap {
                dn: self.text("ldap", dn)?,
                attributes: self.lists("attributes", attributes)?,
                initial: self.lists("initial", initial)?,
            },
            Action::User { name, groups } => Action::User {
                name: self.text("user", name)?,
                groups: self.list("groups", groups)?,
            },
            Action::Wait { probe } => Action::Wait {
                probe: self.probe(probe)?,
            },
        })
    }
}

/// The place of an error, carried through templates that read values of other templates.
#[derive(Debug)]
struct Place {
    template: String,
    line: usize,
    words: String,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, line {}", self.template, self.line)
    }
}

impl std::error::Error for Place {}

/// Keeps where an error arose, with the words of the template it points at.
fn located(error: Error, name: &str, template: &str) -> Error {
    if std::error::Error::source(&error).is_some_and(|source| source.is::<Place>()) {
        return error;
    }
    let line = error.line().unwrap_or(1);
    let words = error
        .range()
        .and_then(|range| template.get(range))
        .or_else(|| template.lines().nth(line.saturating_sub(1)))
        .unwrap_or("")
        .trim()
        .chars()
        .take(120)
        .collect();
    let place = Place {
        template: name.to_string(),
        line,
        words,
    };
    let detail = match error.detail() {
        Some(detail) => detail.to_string(),
        None => error.kind().to_string(),
    };
    Error::new(ErrorKind::InvalidOperation, detail).with_source(place)
}

/// Where an error arose and what is wrong, in words.
fn words(error: &Error) -> (Option<(String, usize)>, String) {
    let reason = match error.detail() {
        Some(detail) => detail.to_string(),
        None => error.kind().to_string(),
    };
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = source {
        if let Some(place) = current.downcast_ref::<Place>() {
            // The engine quotes what is undefined by itself.
            let reason = if place.words.is_empty() || reason.contains('`') {
                reason
            } else {
                format!("{reason}: `{}`", place.words)
            };
            return (Some((place.template.clone(), place.line)), reason);
        }
        source = current.source();
    }
    (None, reason)
}
