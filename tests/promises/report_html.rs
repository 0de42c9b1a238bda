//! `report.html`: a page that says how a run went to a person who was not there, and needs nothing and nobody else.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use deskload::error::{EXIT_ATTENTION, EXIT_DONE, EXIT_EARLY, EXIT_TERMINATE};
use deskload::sandbox::{Fate, Reply, When};
use rusqlite::{Connection, params};
use rustix::process::Signal;
use serde_json::Value;

use crate::support::browser::{Browser, Scheme, variety};
use crate::support::{Bench, TOKEN, closing_time, one_at_a_time, until};

const PAGE: &str = "deskload-reports/run-1/report.html";

/// What a page must not do with somebody else's words.
const HOSTILE: &str =
    "<script>alert(1)</script><img src=https://198.51.100.1/x onerror=alert(1)>\" '&amp; \u{202e}gpj\u{7}";

/// Nor with the name of a file.
const INPUT: &str = "<b>\u{202e}rows.csv";

/// A run with rows of every outcome but skipped, a pause, and somebody else's words wherever they can stand.
fn eventful() -> Bench {
    let bench = Bench::scripted([
        Fate::new(When::Request(4), Reply::status(429).header("retry-after", "1")).times(1),
        Fate::new(When::Ticket(2), Reply::error(404, HOSTILE)),
        Fate::new(When::Ticket(3), Reply::status(500)),
        Fate::new(When::Ticket(7), Reply::error(422, &format!("no such owner, {TOKEN}"))),
    ]);
    let header = format!("ticket_id,subject,priority,\"custom_fields.{}\"\n", HOSTILE.replace('"', "\"\""));
    let priority = |ticket| if ticket == 5 { "urgent" } else { "low" };
    let row = |ticket| format!("{ticket},a private matter {ticket},{},x\n", priority(ticket));
    let rows = std::iter::once(header).chain((1..=12).map(row)).chain(["3,held back,low,x\n".to_owned()]);
    let rows: String = rows.collect();
    bench.file(INPUT, rows);
    bench.run(&["run", INPUT, "--concurrency", "2", "--max-failures", "100%"]).code(EXIT_ATTENTION);
    bench
}

/// The run went on for three days, of which a process was at work in two nights; as the journal would hold it.
fn go_back_three_days(bench: &Bench) {
    let journal = Connection::open(bench.journal()).unwrap();
    let day_ms = 24 * 60 * 60_000;
    journal.execute("UPDATE run SET started_ms = started_ms - 3 * ?1", [day_ms]).unwrap();
    journal.execute("UPDATE invocation SET number = 3", []).unwrap();
    let now: i64 = journal.query_row("SELECT began_ms FROM invocation", [], |row| row.get(0)).unwrap();
    for night in 1..=2_i64 {
        let began_ms = now - (4 - night) * day_ms;
        journal
            .execute(
                "INSERT INTO invocation (run, number, again, pace, began_ms, ended_ms, exit_code, said)
                 VALUES (1, ?1, 'deskload resume', '1/s', ?2, ?3, 5, 'the window 22:00-06:00 is closed')",
                params![night, began_ms, began_ms + day_ms / 3],
            )
            .unwrap();
        for minute in began_ms / 60_000..(began_ms + day_ms / 3) / 60_000 {
            let paused_ms = if minute % 60 < 10 { 40_000 } else { 0 };
            journal
                .execute(
                    "INSERT INTO minute (run, minute, applied, failed, in_doubt, throttled, not_sent, paused_ms, away_ms,
                         per_second, latency)
                     VALUES (1, ?1, ?2, ?3, 0, 1, 0, ?4, 0, 1.0, x'')",
                    params![minute, 60 - paused_ms / 1_000, minute % 7, paused_ms],
                )
                .unwrap();
        }
    }
    journal.close().unwrap();
    bench.run(&["report", "1"]).code(EXIT_DONE).says("report.html");
}

/// The text of the page as a reader sees it: without tags, entities as they are.
fn count_of(page: &str, word: &str) -> u64 {
    let row = page
        .lines()
        .find(|line| line.contains("<th scope=\"row\">") && line.contains(&format!("</span>{word}</th>")));
    let cell = row.unwrap_or_else(|| panic!("{word}: {page}")).split("<td class=\"number\">").nth(1).unwrap();
    cell.split('<').next().unwrap().replace(',', "").parse().unwrap()
}

#[test]
fn the_page_tells_what_the_summary_tells_and_nothing_that_is_private() {
    let bench = eventful();
    let page = bench.read(PAGE);
    let summary = bench.summary(1);
    for (word, key) in [
        ("applied", "applied"),
        ("failed", "failed"),
        ("invalid", "invalid"),
        ("in doubt", "in_doubt"),
        ("skipped", "skipped"),
        ("pending", "pending"),
    ] {
        assert_eq!(count_of(&page, word), summary["counts"][key].as_u64().unwrap(), "{word}");
    }
    assert_eq!(bench.counts(1), [8, 2, 1, 1, 0, 1]);
    for told in ["8 of 13 rows were applied so far", "1 waits behind rows in doubt", "4 need a look"] {
        assert!(page.contains(told), "{told}: {page}");
    }
    assert!(
        page.contains("<td class=\"number\">3</td><td>the desk answered 500"),
        "the ticket in doubt: {page}"
    );
    assert!(
        page.contains("<code class=\"command\"><span>deskload resolve 1</span> <span>--applied</span></code> <span class=\"command\"><span>(or</span> <span>--resend"),
        "{page}"
    );
    assert!(!page.contains(TOKEN), "the token");
    assert!(!page.contains("private matter"), "what a row holds");
    let mode = fs::metadata(bench.path(PAGE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn the_page_fetches_nothing_runs_nothing_and_takes_words_for_words() {
    let bench = eventful();
    let page = bench.read(PAGE);
    let tags: Vec<&str> = page.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()).collect();
    for tag in &tags {
        let name = tag.trim_start_matches('/').split_whitespace().next().unwrap().to_lowercase();
        let is_known = "!doctype html head meta title style body main header p h1 h2 code br span table caption thead tbody \
                        tr th td ul li figure figcaption svg desc defs pattern path rect div dl dt dd time details \
                        summary footer wbr"
            .split_whitespace()
            .any(|known| known == name);
        assert!(is_known, "<{tag}>");
        for attribute in tag.split_whitespace().skip(1).filter(|attribute| attribute.contains('=')) {
            let name = attribute.split('=').next().unwrap().to_lowercase();
            let acts =
                ["src", "srcset", "href", "xlink:href", "style", "action", "data", "poster", "background"];
            assert!(!acts.contains(&name.as_str()) && !name.starts_with("on"), "{name} in <{tag}>");
        }
    }
    assert!(page.contains("default-src 'none'"), "the page's own policy");
    assert!(page.contains("&#60;script&#62;alert(1)"), "somebody else's words are there, as words: {page}");
    assert!(!page.contains(['\u{202e}', '\u{7}']));
    let style = page.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
    assert!(!style.contains("url(") && !style.contains("@import"), "{style}");
}

#[test]
fn a_pause_is_in_the_samples_also_if_it_is_broken_off() {
    let waited_ms = |bench: &Bench| -> i64 {
        let journal = Connection::open(bench.journal()).unwrap();
        journal.query_row("SELECT sum(paused_ms) FROM minute", [], |row| row.get(0)).unwrap()
    };
    let bench = eventful();
    assert!(waited_ms(&bench) >= 900, "the desk asked for a second: {}", waited_ms(&bench));
    let bench =
        Bench::scripted([Fate::new(When::Request(2), Reply::status(429).header("retry-after", "600"))]);
    bench.rows(1..=3);
    let mut run = bench.start(&["run", "rows.csv", "--concurrency", "1"]);
    bench.await_requests(&mut run, 2);
    // Once the journal knows of the pause, what has been waited until the signal is not in it yet.
    until("the pause", || {
        let journal = Connection::open(bench.journal()).unwrap();
        journal.query_row("SELECT count(*) FROM pause", [], |row| row.get::<_, u64>(0)).unwrap() == 1
    });
    let (before_ms, since) = (waited_ms(&bench), Instant::now());
    // Samples are in milliseconds: some have to go by.
    until("a piece of the pause", || since.elapsed() > Duration::from_millis(10));
    run.signal(Signal::TERM);
    run.finish().code(EXIT_TERMINATE);
    assert!(waited_ms(&bench) > before_ms);
}

#[test]
fn report_tells_the_same_next_steps_as_the_run_did() {
    let bench = Bench::scripted([Fate::new(When::Request(1), Reply::status(404)), closing_time(3)]);
    bench.rows(1..=5);
    let said = bench.run(&one_at_a_time("rows.csv", &[])).code(EXIT_EARLY);
    let steps = |page: &str| -> Vec<String> {
        let list = page.split("<ul class=\"steps\">").nth(1).unwrap().split("</ul>").next().unwrap();
        list.lines()
            .map(|line| {
                let tags = [
                    "<li>",
                    "</li>",
                    "<code class=\"command\">",
                    "</code>",
                    "<span class=\"command\">",
                    "<span>",
                    "</span>",
                    "<wbr>",
                ];
                tags.iter().fold(line.to_owned(), |line, tag| line.replace(tag, ""))
            })
            .filter(|line| !line.is_empty())
            .collect()
    };
    let told = steps(&bench.read(PAGE));
    assert_eq!(told.len(), 2, "{told:?}");
    for step in &told {
        assert!(said.stderr.contains(step), "{step}: {}", said.stderr);
    }
    assert!(bench.read(PAGE).contains("It stopped there: the desk asks to come back in 1s"));
    fs::remove_file(bench.path(PAGE)).unwrap();
    bench.run(&["report"]).code(EXIT_DONE);
    assert_eq!(steps(&bench.read(PAGE)), told);
}

/// What is wrong with a page for those who read it: at this width, in these colours, or by ear.
const LOOK: &str = r"
    const shades = color => { const found = color.match(/[\d.]+/g).map(Number); return found[3] === 0 ? null : found; };
    const light = shade => { const [r, g, b] = shade.map(part => { const s = part / 255;
        return s <= .03928 ? s / 12.92 : ((s + .055) / 1.055) ** 2.4; }); return .2126 * r + .7152 * g + .0722 * b; };
    const behind = element => { for (let at = element; at; at = at.parentElement) {
        const shade = shades(view.getComputedStyle(at).backgroundColor); if (shade) return shade; } };
    const faint = [];
    for (const element of document.querySelectorAll('body *:not(svg *)')) {
        const text = [...element.childNodes].filter(node => node.nodeType === 3).map(node => node.data.trim()).join('');
        if (!text) continue;
        const [one, other] = [light(shades(view.getComputedStyle(element).color)), light(behind(element))];
        const ratio = (Math.max(one, other) + .05) / (Math.min(one, other) + .05);
        if (ratio < 4.5) faint.push(ratio.toFixed(2) + ' ' + text);
    }
    const levels = [...document.querySelectorAll('h1, h2, h3')].map(heading => Number(heading.tagName[1]));
    const root = document.documentElement;
    const named = image => image.ariaLabel || (image.ariaLabelledByElements || []).map(by => by.textContent).join('') || image.querySelector('title');
    return {
        width: root.clientWidth,
        overflow: root.scrollWidth - root.clientWidth,
        paper: view.getComputedStyle(root).backgroundColor,
        lang: root.lang,
        levels,
        faint,
        tables: document.querySelectorAll('table').length,
        untitled: [...document.querySelectorAll('table')].filter(table => !table.caption).length,
        unscoped: document.querySelectorAll('th:not([scope])').length,
        unnamed: [...document.querySelectorAll('svg:not([aria-hidden] svg):not([aria-hidden])')].filter(svg => svg.getAttribute('role') !== 'img' || !named(svg)).length,
        images: document.querySelectorAll('svg[role=img]').length,
        scripts: document.scripts.length,
        fetched: view.performance.getEntriesByType('resource').length,
    };
";

#[test]
fn the_page_can_be_read_on_a_telephone_in_the_dark_by_ear_and_on_paper() {
    let Some(browser) = Browser::find() else { return };
    let bench = eventful();
    let copy = |name: &str| -> PathBuf { bench.path(PAGE).with_file_name(name) };
    fs::copy(bench.path(PAGE), copy("short.html")).unwrap();
    go_back_three_days(&bench);
    fs::copy(bench.path(PAGE), copy("long.html")).unwrap();
    let (short, long) = (copy("short.html"), copy("long.html"));
    assert!(fs::metadata(&long).unwrap().len() < 300_000, "as large as a photograph at most");

    for (scheme, width, paper) in
        [(Scheme::Light, 360, "rgb(255, 255, 255)"), (Scheme::Dark, 1_200, "rgb(21, 24, 28)")]
    {
        let pages = browser.look(scheme, width, &[&short, &long], LOOK);
        for (page, images) in pages.iter().zip([1, 4]) {
            let shown = format!("{scheme:?}, {width}: {page:#}");
            assert_eq!((&page["paper"], &page["lang"]), (&Value::from(paper), &Value::from("en")), "{shown}");
            assert_eq!(
                (&page["overflow"], &page["faint"]),
                (&Value::from(0), &Value::from(Vec::<Value>::new())),
                "{shown}"
            );
            for none in ["untitled", "unscoped", "unnamed", "scripts", "fetched"] {
                assert_eq!(page[none], 0, "{none}, {shown}");
            }
            assert_eq!(page["images"], images, "{shown}");
            let levels: Vec<u64> =
                page["levels"].as_array().unwrap().iter().map(|level| level.as_u64().unwrap()).collect();
            assert_eq!(levels[0], 1, "{shown}");
            assert!(levels.windows(2).all(|two| two[1] <= two[0] + 1 && two[1] > 1), "{shown}");
        }
    }
    assert!(variety(&browser.shot(Scheme::Light, "1200,2000", &long)) > 50);
    let printed = browser.print(&long);
    assert!(printed.starts_with(b"%PDF-") && printed.len() > 10_000, "{}", printed.len());
}
