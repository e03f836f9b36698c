//! Fields of a form on an HTML page, as a browser would send them untouched.

/// Names and values of the `input`, `textarea` and `select` fields inside the form whose
/// tag contains `mark`, in page order. None when there is no such form.
pub fn fields(html: &str, mark: &str) -> Option<Vec<(String, String)>> {
    let form = form(html, mark)?;
    let mut fields = Vec::new();
    let mut rest = form;
    while let Some(start) = rest.find('<') {
        rest = &rest[start..];
        let Some(end) = rest.find('>') else { break };
        let (tag, mut after) = (&rest[..end], &rest[end + 1..]);
        // What stands inside of a field is its own: a browser sees no tags there.
        let mut inside = |end: &str| {
            let (inside, behind) = after.split_at(after.find(end).unwrap_or(after.len()));
            after = behind;
            inside
        };
        let value = match tag[1..].split_ascii_whitespace().next() {
            Some("input") => input(tag),
            Some("textarea") => Some(unescape(inside("</textarea"))),
            Some("select") => choice(inside("</select")),
            _ => None,
        };
        if let (Some(name), Some(value)) = (attribute(tag, "name"), value) {
            fields.push((name, value));
        }
        rest = after;
    }
    Some(fields)
}

/// The value of the first field of this name.
pub fn value<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    fields
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str())
}

/// Replaces a field, or adds it.
pub fn set(fields: &mut Vec<(String, String)>, name: &str, value: &str) {
    fields.retain(|(key, _)| key != name);
    fields.push((name.to_string(), value.to_string()));
}

fn form<'a>(html: &'a str, mark: &str) -> Option<&'a str> {
    let mut rest = html;
    loop {
        rest = &rest[rest.find("<form")?..];
        let end = rest.find('>')?;
        if rest[..end].contains(mark) {
            return Some(rest.split("</form").next().unwrap_or(rest));
        }
        rest = &rest[end..];
    }
}

fn input(tag: &str) -> Option<String> {
    let kind = attribute(tag, "type").unwrap_or_default();
    match kind.as_str() {
        "submit" | "button" | "file" | "image" | "reset" => None,
        "checkbox" | "radio" if !tag.contains("checked") => None,
        _ => Some(attribute(tag, "value").unwrap_or_default()),
    }
}

/// The selected option, else the first.
fn choice(options: &str) -> Option<String> {
    let tags: Vec<&str> = options
        .split("<option")
        .skip(1)
        .filter_map(|option| option.split('>').next())
        .collect();
    let chosen = tags
        .iter()
        .find(|tag| tag.contains("selected"))
        .or_else(|| tags.first())?;
    attribute(chosen, "value")
}

/// An attribute of a tag, unescaped.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let mut rest = tag;
    loop {
        let at = rest.find(name)?;
        let before = rest[..at].chars().next_back();
        let after = &rest[at + name.len()..];
        if before.is_some_and(char::is_whitespace)
            && let Some(value) = after.strip_prefix('=')
        {
            let value = match value.chars().next() {
                Some(quote @ ('"' | '\'')) => value[1..].split(quote).next().unwrap_or(""),
                _ => value.split([' ', '>', '\n', '\t']).next().unwrap_or(""),
            };
            return Some(unescape(value));
        }
        rest = after;
    }
}

/// The first heading of a page, else its title: what a person would say they see.
pub fn heading(html: &str) -> Option<String> {
    ["<h1", "<h2", "<h3", "<title"].iter().find_map(|tag| {
        let (_, rest) = html.split_once(tag)?;
        let (_, rest) = rest.split_once('>')?;
        let text = unescape(rest.split('<').next().unwrap_or("").trim());
        (!text.is_empty()).then_some(text)
    })
}

/// The character references that pages of the probed programs hold.
pub fn unescape(text: &str) -> String {
    text.replace("&quot;", "\"")
        .replace("&#039;", "'")
        .replace("&#39;", "'")
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_a_field_is_no_field_and_is_taken_once() {
        let html = "<form x><textarea name=a>1<input name=b>".to_string()
            + &"<textarea name=c>".repeat(1000);
        let found = fields(&html, "x").expect("the form");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, "a");
        assert!(found[0].1.starts_with("1<input name=b><textarea"));
    }

    #[test]
    fn a_form_gives_what_a_browser_would_send() {
        let html = r#"<form name="search"><input name="q" value="x"></form>
            <form id="rcmcomposeform" name="form" action="./">
            <input type="hidden" name="_token" value="a&amp;b">
            <input name='_id' type="hidden" value='7'>
            <input type="checkbox" name="_keep" value="1">
            <input type="checkbox" name="_receipt" checked value="1">
            <input type="submit" name="go" value="Send">
            <select name="_from"><option value="1">One</option>
            <option value="2" selected="selected">Two</option></select>
            <textarea name="_message" rows="5">Dear &lt;you&gt;</textarea></form>"#;
        let mut fields = fields(html, "name=\"form\"").expect("the form");
        let pairs: Vec<(&str, &str)> = fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            pairs,
            [
                ("_token", "a&b"),
                ("_id", "7"),
                ("_receipt", "1"),
                ("_from", "2"),
                ("_message", "Dear <you>"),
            ]
        );
        set(&mut fields, "_from", "1");
        assert_eq!(value(&fields, "_from"), Some("1"));
        assert_eq!(super::fields(html, "nothing"), None);
        assert_eq!(heading(html), None);
        let page = "<title>x</title><h3 class=\"e\"> A &amp; B</h3>";
        assert_eq!(heading(page).as_deref(), Some("A & B"));
    }
}
