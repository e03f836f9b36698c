//! A person with a real browser: Chromium, which trusts the site's authority, logs in to the
//! webmail, writes a message and finds it in the inbox.

use crate::site::{Site, wait};
use base64::Engine;
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Chromium behind chromedriver, spoken to as W3C WebDriver says.
struct Browser {
    driver: Child,
    session: String,
    _home: tempfile::TempDir,
}

impl Browser {
    /// Starts it with a home of its own, in which `authority` is trusted.
    fn new(authority: &str) -> Browser {
        let home = tempfile::tempdir().expect("a folder");
        let store = home.path().join(".pki/nssdb");
        std::fs::create_dir_all(&store).expect("a folder");
        let store = format!("sql:{}", store.display());
        for arguments in [
            vec!["-N", "--empty-password"],
            vec!["-A", "-t", "C,,", "-n", "site", "-i", authority],
        ] {
            let status = Command::new("certutil")
                .args(["-d", &store])
                .args(arguments)
                .status();
            assert!(status.expect("certutil starts").success());
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let log = std::fs::File::create(home.path().join("log")).expect("a file");
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .env("HOME", home.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("another handle"))
            .stderr(log)
            .spawn()
            .expect("chromedriver starts");
        let address = format!("http://127.0.0.1:{port}");
        let mut browser = Browser {
            driver,
            session: address.clone(),
            _home: home,
        };
        wait("chromedriver to answer", Duration::from_secs(30), || {
            std::net::TcpStream::connect(("127.0.0.1", port)).ok()
        });
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1200,900",
        ];
        let wish = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": arguments},
            "timeouts": {"pageLoad": 180_000, "script": 60_000},
        }}});
        let session = browser.post("/session", &wish);
        let id = session["sessionId"].as_str().expect("a session");
        browser.session = format!("{address}/session/{id}");
        browser
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let mut curl = Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "240"])
            .args(["--header", "Content-Type: application/json"])
            .args(["--data", "@-"])
            .arg(format!("{}{path}", self.session))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("curl starts");
        let mut stdin = curl.stdin.take().expect("piped");
        write!(stdin, "{body}").expect("curl takes it");
        drop(stdin);
        let output = curl.wait_with_output().expect("curl ends");
        let answer: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        assert!(answer["value"]["error"].is_null(), "{path}: {answer}");
        answer["value"].clone()
    }

    fn opens(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    /// Runs a function body in the page.
    fn asks(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// Waits until the page says yes; panics with what it shows instead.
    fn waits_for(&self, script: &str) {
        let end = Instant::now() + Duration::from_secs(120);
        while self.asks(&format!("return !!({script})")) != true {
            if Instant::now() >= end {
                let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("failed-browser.png");
                self.picture(&place);
                let shown = self.asks(
                    "return [location.href, document.readyState, document.title, \
                     document.body.innerText.slice(0, 1000)].join('\\n')",
                );
                panic!("in vain for {script}; the page shows:\n{shown}");
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// Waits until the page has asked for nothing for a second.
    fn rests(&self) {
        let mut quiet = 0;
        wait(
            "the page to ask for nothing",
            Duration::from_secs(120),
            || {
                let asks = self.asks("return jQuery.active") != 0;
                quiet = if asks { 0 } else { quiet + 1 };
                (quiet > 2).then_some(())
            },
        );
    }

    /// Types into the field that `selector` finds.
    fn types(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.post(
            &format!("/element/{element}/value"),
            &json!({ "text": text }),
        );
    }

    fn clicks(&self, selector: &str) {
        let element = self.element(selector);
        self.post(&format!("/element/{element}/click"), &json!({}));
    }

    fn element(&self, selector: &str) -> String {
        let found = self.post(
            "/element",
            &json!({"using": "css selector", "value": selector}),
        );
        let id = found.as_object().and_then(|found| found.values().next());
        id.and_then(Value::as_str).expect("an element").to_owned()
    }

    /// What is seen now, as a picture.
    fn picture(&self, place: &Path) {
        let output = Command::new("curl")
            .args(["--silent", "--max-time", "60"])
            .arg(format!("{}/screenshot", self.session))
            .output()
            .expect("curl starts");
        let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let text = answer["value"].as_str().expect("a picture");
        let bytes = base64::engine::general_purpose::STANDARD.decode(text);
        std::fs::write(place, bytes.expect("base64")).expect("a file");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = Command::new("curl")
            .args(["--silent", "--max-time", "20", "--request", "DELETE"])
            .arg(&self.session)
            .stdout(Stdio::null())
            .status();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// Staff writes a message to staff, and finds it.
pub fn mail(site: &Site) {
    let ps = site.ps();
    let machine = &ps["machines"][0];
    let url = machine["urls"][0].as_str().expect("a URL");
    let browser = Browser::new(machine["site-ca"].as_str().expect("site-ca.pem"));

    browser.opens(url);
    browser.types("#rcmloginuser", "staff");
    browser.types("#rcmloginpwd", &site.password("staff"));
    browser.clicks("#rcmloginsubmit");
    browser.waits_for("window.rcmail && rcmail.env.task == 'mail'");
    // Requests of one session that overlap may lose what the others keep in it, among it that a
    // message is being written: so a person first sees the list.
    browser.waits_for("document.querySelector('#messagelist tbody tr')");
    browser.rests();
    site.saw("Chromium trusts the webmail, and staff is logged in");

    let subject = format!("from-chromium-{}", std::process::id());
    browser.opens(&format!("{url}?_task=mail&_action=compose"));
    browser.waits_for("window.rcmail && rcmail.env.action == 'compose'");
    browser.types("#compose_to input", "staff@example.org,");
    browser.types("#compose-subject", &subject);
    browser.types("#composebody", "Typed in a browser.");
    browser.clicks("button.send");
    browser.waits_for("rcmail.env.action != 'compose'");
    browser.opens(&format!("{url}?_task=mail&_mbox=INBOX"));
    browser.waits_for(&format!(
        "document.querySelector('#messagelist').innerText.includes('{subject}')"
    ));
    let place: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR")).join("webmail.png");
    browser.picture(&place);
    site.saw("a message typed in Chromium stands in the inbox");
}
