//! Chromium without a window: what a page looks like to who opens it.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::tool;

/// Nothing is fetched, nothing is remembered; as root it has no sandbox of its own.
const FLAGS: [&str; 14] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--allow-file-access-from-files",
    "--hide-scrollbars",
];

/// Which colours a reader has asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scheme {
    Dark,
    Light,
}

pub(crate) struct Browser {
    program: PathBuf,
    folder: tempfile::TempDir,
}

impl Browser {
    /// None if there is no Chromium; the reader is told so.
    pub(crate) fn find() -> Option<Self> {
        Some(Self { program: tool("chromium")?, folder: tempfile::tempdir().unwrap() })
    }

    fn open(&self, scheme: Scheme, args: &[&str], page: &Path) -> String {
        let profile = format!("--user-data-dir={}", self.folder.path().join("profile").display());
        let scheme = format!("--blink-settings=preferredColorScheme={}", scheme as u8);
        let output = Command::new(&self.program)
            .args(FLAGS)
            .args([&profile, &scheme])
            .args(args)
            .arg(format!("file://{}", page.display()))
            .current_dir(self.folder.path())
            .env("HOME", self.folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What a script finds out about these pages, each in a frame of its own that is so wide: `look` is the body of a
    /// function of the frame's `document` and `view`, and gives what JSON can hold.
    pub(crate) fn look(
        &self,
        scheme: Scheme,
        width: u32,
        pages: &[&Path],
        look: &str,
    ) -> Vec<serde_json::Value> {
        let frame = |page: &&Path| {
            format!("<iframe width={width} height=900 src='file://{}'></iframe>", page.display())
        };
        let frames = pages.iter().map(frame).collect::<Vec<_>>().concat();
        // What HTML would take for its own can stand only inside JSON's strings, where an escape means the same.
        let script = r"onload = () => out.textContent = JSON.stringify([...frames_of()])
            .replace(/[<>&]/g, char => '\\u00' + char.charCodeAt().toString(16))";
        let html = format!(
            "<!DOCTYPE html><meta name='color-scheme' content='light dark'>{frames}<pre id=out></pre><script>
             function* frames_of() {{ for (const f of document.querySelectorAll('iframe'))
                 yield ((document, view) => {{ {look} }})(f.contentDocument, f.contentWindow); }}
             {script}</script>"
        );
        let wrapper = self.folder.path().join("wrapper.html");
        fs::write(&wrapper, html).unwrap();
        let dom = self.open(scheme, &["--dump-dom", "--virtual-time-budget=5000"], &wrapper);
        let found = dom.split("<pre id=\"out\">").nth(1).and_then(|rest| rest.split('<').next());
        serde_json::from_str(found.unwrap_or_else(|| panic!("no answer in {dom}"))).unwrap()
    }

    /// The page as it is seen, as a PNG.
    pub(crate) fn shot(&self, scheme: Scheme, size: &str, page: &Path) -> Vec<u8> {
        let path = self.folder.path().join("shot.png");
        let (size, shot) = (format!("--window-size={size}"), format!("--screenshot={}", path.display()));
        self.open(scheme, &[&size, &shot], page);
        fs::read(path).unwrap()
    }

    /// The page as it is printed, as a PDF.
    pub(crate) fn print(&self, page: &Path) -> Vec<u8> {
        let path = self.folder.path().join("page.pdf");
        self.open(
            Scheme::Light,
            &["--no-pdf-header-footer", &format!("--print-to-pdf={}", path.display())],
            page,
        );
        fs::read(path).unwrap()
    }
}

/// How many different values the picture's data has: a blank page has next to none.
pub(crate) fn variety(png: &[u8]) -> usize {
    let mut rest = &png[8..];
    let mut packed = Vec::new();
    while rest.len() > 12 {
        let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
        if &rest[4..8] == b"IDAT" {
            packed.extend_from_slice(&rest[8..8 + length]);
        }
        rest = &rest[12 + length..];
    }
    let mut pixels = Vec::new();
    flate2::read::ZlibDecoder::new(packed.as_slice()).read_to_end(&mut pixels).unwrap();
    pixels.into_iter().collect::<std::collections::BTreeSet<u8>>().len()
}
