//! What a person reads at a console: what runs here and how to get in.

use super::host::Names;

/// The text of issue(5): agetty puts the addresses in at the time of the prompt.
pub fn issue(stack: &str, summary: &str, names: &Names, admin: &str) -> String {
    let Names {
        host,
        domain,
        routes,
        ..
    } = names;
    // A backslash of ours must not become one of agetty's escapes.
    let plain = |text: &str| text.replace('\\', "/");
    let mut text = format!(
        "\n{host}.{domain} ({}): {}\n\n",
        plain(stack),
        plain(summary)
    );
    text.push_str(&format!("  Log in here as {admin}, or: ssh {admin}@\\4\n"));
    for route in routes {
        text.push_str(&format!("  https://{route}.{domain}/\n"));
    }
    text.push_str("  How it stands: muster status\n\n");
    text
}
