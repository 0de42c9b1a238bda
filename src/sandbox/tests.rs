//! The sandbox over real sockets, with a client so plain that it cannot hide anything: what it writes is what
//! goes out, and it sends nothing again.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use super::judge::Word;
use super::options::Latency;
use super::*;

/// The endpoint's host and port.
fn authority(desk: &Running) -> &str {
    desk.url().strip_prefix("http://").and_then(|rest| rest.strip_suffix(PATH)).unwrap()
}

/// A body with good credentials around these members.
fn body(members: &str) -> String {
    format!(r#"{{"account_email":"ops@example.com","token":"sandbox-token",{members}}}"#)
}

fn update(ticket: u64) -> String {
    body(&format!(r#""ticket_id":{ticket},"staff":"ST007-009""#))
}

fn request(line: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("{line} HTTP/1.1\r\nhost: desk\r\n{headers}content-length: {length}\r\n\r\n{body}")
}

fn post(body: &str) -> String {
    request(&format!("POST {PATH}"), "content-type: application/json\r\naccept: application/json\r\n", body)
}

/// One request on a connection of its own; everything that comes back until the desk closes or resets it.
fn exchange(desk: &Running, request: &str) -> (String, Option<ErrorKind>) {
    let mut stream = TcpStream::connect(authority(desk)).unwrap();
    stream.write_all(request.replacen("\r\n", "\r\nconnection: close\r\n", 1).as_bytes()).unwrap();
    let mut reply = Vec::new();
    let end = stream.read_to_end(&mut reply).err().map(|error| error.kind());
    (String::from_utf8(reply).unwrap(), end)
}

/// Status and body of the reply to an update.
fn send(desk: &Running, body: &str) -> (u16, String) {
    parse(&exchange(desk, &post(body)).0)
}

fn parse(reply: &str) -> (u16, String) {
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn success(ticket: &str) -> (u16, String) {
    (200, format!(r#"{{"status":"success","ticket_id":"{ticket}"}}"#))
}

fn scripted(fates: impl Into<Vec<Fate>>) -> Options {
    Options { fates: fates.into(), ..Options::default() }
}

fn at_77(reply: Reply) -> Running {
    spawn(scripted([Fate::new(When::Ticket(77), reply)])).unwrap()
}

#[test]
fn an_update_is_answered_as_the_page_shows_it() {
    let desk = spawn(Options::default()).unwrap();
    assert_eq!(send(&desk, &update(700)), success("00700"));
    assert_eq!(desk.finish().unwrap(), Counts { requests: 1, applied: 1, ..Counts::default() });
}

#[test]
fn wrong_credentials_get_the_documented_words_with_200() {
    let desk = spawn(Options::default()).unwrap();
    let words =
        r#"{"status":"error","description":"Unable to authenticate request using account email and token"}"#;
    assert_eq!(send(&desk, &update(7).replace("sandbox-token", "other")), (200, words.to_owned()));
    assert_eq!(desk.counts().applied, 0);
}

#[test]
fn only_a_post_to_the_exact_path_is_an_update() {
    let desk = spawn(Options::default()).unwrap();
    let json = "content-type: application/json\r\n";
    let without_slash = "POST /app/api/v1/update/ticket";
    let (moved, _) = exchange(&desk, &request(without_slash, json, &update(7)));
    assert!(moved.starts_with("HTTP/1.1 301 ") && moved.contains("location: /app/api/v1/update/ticket/\r\n"));
    for (line, status) in
        [("POST /app/api/v1/update/Ticket/", 404), ("POST /", 404), ("GET /app/api/v1/update/ticket/", 405)]
    {
        let (got, words) = parse(&exchange(&desk, &request(line, json, &update(7))).0);
        assert_eq!(got, status, "{line}");
        assert!(words.starts_with(r#"{"status":"error","description":""#), "{words}");
    }
    assert_eq!(desk.counts(), Counts { requests: 4, ..Counts::default() });
}

#[test]
fn a_body_that_is_no_update_is_an_error_with_words() {
    let desk = spawn(Options::default()).unwrap();
    for (members, word) in [
        (r#""ticket_id":"1001""#, "must be a number"),
        (r#""ticket_id":1,"ticket_id":1"#, "given twice"),
        (r#""ticket_id":1,"status":"closed""#, "Unknown"),
        (r#""ticket_id":1,"priority":"urgent""#, "priority"),
        (r#""ticket_id":1,"#, "Invalid JSON"),
    ] {
        let (status, words) = send(&desk, &body(members));
        assert!(status == 200 && words.contains(word) && words.contains(r#""status":"error""#), "{words}");
    }
    let (_, words) = parse(&exchange(&desk, &request(&format!("POST {PATH}"), "", &update(7))).0);
    assert!(words.contains("Content-Type"), "{words}");
    let (status, _) = send(&desk, &" ".repeat((1 << 20) + 1));
    assert_eq!((status, desk.counts().applied), (413, 0));
}

#[test]
fn a_connection_serves_one_request_after_another_scripted_ones_included() {
    let desk = at_77(Reply::error(503, "busy").header("retry-after", "120junk"));
    let mut stream = TcpStream::connect(authority(&desk)).unwrap();
    let mut next = |ticket, end: &str| {
        stream.write_all(post(&update(ticket)).as_bytes()).unwrap();
        let (mut reply, mut byte) = (Vec::new(), [0]);
        while !reply.ends_with(end.as_bytes()) {
            stream.read_exact(&mut byte).unwrap();
            reply.extend(byte);
        }
        String::from_utf8(reply).unwrap()
    };
    assert_eq!(parse(&next(1, "}")), success("00001"));
    let busy = next(77, "}");
    assert!(busy.starts_with("HTTP/1.1 503 ") && busy.contains("retry-after: 120junk\r\n"), "{busy}");
    assert_eq!(parse(&next(77, "}")), success("00077"));
}

#[test]
fn over_the_rate_is_429_with_whole_seconds() {
    let desk = spawn(Options { rate: Some(0.001), ..Options::default() }).unwrap();
    assert_eq!(send(&desk, &update(1)), success("00001"));
    let (reply, _) = exchange(&desk, &post(&update(2)));
    let wait =
        reply.split_once("retry-after: ").unwrap().1.split_once("\r\n").unwrap().0.parse::<u64>().unwrap();
    assert!(reply.starts_with("HTTP/1.1 429 ") && (900..=1_000).contains(&wait), "{reply}");
    assert_eq!(desk.counts(), Counts { requests: 2, applied: 1, throttled: 1, ..Counts::default() });
}

#[test]
fn the_same_seed_refuses_the_same_tickets_every_time() {
    let refused = |seed| {
        let desk = spawn(Options { fail: 0.3, seed, ..Options::default() }).unwrap();
        let ask = || {
            (1..=60).filter(|n| send(&desk, &update(*n)).1.contains("Ticket not found")).collect::<Vec<_>>()
        };
        let first = ask();
        assert_eq!(first, ask());
        assert_eq!(desk.counts().refused, 2 * first.len() as u64);
        first
    };
    let one = refused(1);
    assert!((5..=35).contains(&one.len()), "{one:?}");
    assert_eq!(one, refused(1));
    assert_ne!(one, refused(2));
}

#[test]
fn a_dropped_request_was_applied_and_gets_no_word() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("desk.jsonl");
    let desk = spawn(Options { drop: 1.0, log: Some(path.clone()), ..Options::default() }).unwrap();
    assert_eq!(exchange(&desk, &post(&update(7))), (String::new(), None));
    assert_eq!(desk.finish().unwrap(), Counts { requests: 1, applied: 1, dropped: 1, ..Counts::default() });
    let judgement = Judgement::read(&path).unwrap();
    assert_eq!((judgement.count(Word::Dropped), judgement.applied), (1, 1));
}

#[test]
fn a_script_replaces_the_reply_and_says_whether_the_change_took_effect() {
    let lie = spawn(scripted([Fate::new(When::Ticket(77), Reply::AsRuled)])).unwrap();
    assert_eq!((send(&lie, &update(77)), lie.counts().applied), (success("00077"), 0));
    let other = spawn(scripted([Fate::new(When::Ticket(77), Reply::OtherTicket).applied()])).unwrap();
    assert_eq!((send(&other, &update(77)), other.counts().applied), (success("00078"), 1));
    let lost = spawn(scripted([Fate::new(When::Always, Reply::status(500)).applied().times(Fate::FOREVER)]))
        .unwrap();
    assert_eq!(send(&lost, &update(1)), (500, String::new()));
    assert_eq!(send(&lost, &body(r#""ticket_id":1,"priority":"urgent""#)), (500, String::new()));
    assert_eq!(lost.counts().applied, 1, "a script never applies what the rules refuse");
}

#[test]
fn a_script_speaks_as_often_as_it_was_told_and_in_its_place() {
    let desk = spawn(scripted([
        Fate::new(When::Request(2), Reply::status(302).header("location", "http://127.0.0.1:1/")),
        Fate::new(When::From(3), Reply::status(403)).times(2),
    ]))
    .unwrap();
    let statuses: Vec<_> = (1..=5).map(|ticket| send(&desk, &update(ticket)).0).collect();
    assert_eq!(statuses, [200, 302, 403, 403, 200]);
}

#[test]
fn broken_replies_are_broken_on_the_wire() {
    assert_eq!(exchange(&at_77(Reply::close()), &post(&update(77))), (String::new(), None));
    let (_, end) = exchange(&at_77(Reply::reset()), &post(&update(77)));
    assert_eq!(end, Some(ErrorKind::ConnectionReset));
    let (head, end) = exchange(&at_77(Reply::half_head()), &post(&update(77)));
    assert!(head.starts_with("HTTP/1.1 200 ") && !head.contains("\r\n\r\n") && end.is_none());
    let (half, _) = exchange(&at_77(Reply::half_body()), &post(&update(77)));
    assert!(half.contains("content-length: 42") && parse(&half).1.len() < 42, "{half}");
    let (raw, _) = exchange(&at_77(Reply::raw(*b"SSH-2.0-desk\r\n", Then::Close)), &post(&update(77)));
    assert_eq!(raw, "SSH-2.0-desk\r\n");
    let (page, _) = exchange(&at_77(Reply::html()), &post(&update(77)));
    assert!(page.contains("text/html") && page.contains("Sign in"));
}

#[test]
fn silence_lasts_until_the_sandbox_ends() {
    for reply in [Reply::silence(), Reply::drip(Duration::from_secs(3_600))] {
        let desk = at_77(reply.clone());
        let mut stream = TcpStream::connect(authority(&desk)).unwrap();
        stream.write_all(post(&update(77)).as_bytes()).unwrap();
        while desk.counts().requests == 0 {
            std::thread::yield_now();
        }
        assert_eq!(send(&desk, &update(78)), success("00078"));
        drop(desk);
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.len() <= 1, "{reply:?}: {rest:?}");
    }
}

#[test]
fn a_flood_is_as_long_as_it_says() {
    let (status, body) = send(&at_77(Reply::Flood(200_000)), &update(77));
    assert_eq!(status, 200);
    let spaces = body.bytes().filter(|byte| *byte == b' ').count();
    assert!(spaces == 200_000 && body.contains("{}"), "{spaces}");
}

fn text_of(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn the_log_has_a_line_for_every_request_and_never_the_credentials() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("desk.jsonl");
    std::fs::write(&path, "").unwrap();
    let options = Options { token: "se\"cret".to_owned(), log: Some(path.clone()), ..Options::default() };
    let desk = spawn(options).unwrap();
    let mine = |members: &str| body(members).replace("sandbox-token", "se\\\"cret");
    send(
        &desk,
        &mine(
            "\"priority\":\"high\",\"ticket_id\":1001,\"custom_fields\":[\n{\"id\":\"CF1\",\"value\":\"a\"}]",
        ),
    );
    send(&desk, &mine("\"ticket_id\":1002,\"subject\":\"I sent se\\\"cret\""));
    send(&desk, &mine("\"ticket_id\":1003,\"tokn\":\"se\\\"cret\",\"who\":\"ops@example.com\""));
    send(&desk, &mine("\"ticket_id\":1004,,"));
    send(&desk, &update(1005));
    exchange(&desk, &request("POST /elsewhere", "", &mine("\"ticket_id\":1")));
    desk.finish().unwrap();

    let log = text_of(&path);
    assert!(!log.contains("cret") && !log.contains("ops@example.com"), "{log}");
    let lines: Vec<_> = log.lines().map(|line| line.split_once(",\"ticket\":").unwrap()).collect();
    let ends: Vec<_> = lines.iter().map(|(_, end)| *end).collect();
    assert_eq!(
        ends,
        [
            r#"1001,"change":{"priority":"high","custom_fields":[ {"id":"CF1","value":"a"}]},"status":200,"applied":true,"fate":"applied"}"#,
            r#"1002,"change":{"subject":"[token]"},"status":200,"applied":true,"fate":"applied"}"#,
            r#"1003,"change":{},"status":200,"applied":false,"fate":"refused"}"#,
            r#"null,"change":{},"status":200,"applied":false,"fate":"malformed"}"#,
            r#"1005,"change":{"staff":"ST007-009"},"status":200,"applied":false,"fate":"unauthenticated"}"#,
            r#"null,"change":{},"status":404,"applied":false,"fate":"misdirected"}"#,
        ]
    );
    for (index, (start, _)) in lines.iter().enumerate() {
        assert!(start.starts_with(&format!("{{\"seq\":{},\"at\":", index + 1)), "{start}");
    }
    let times: Vec<f64> =
        lines.iter().map(|(start, _)| start.rsplit_once(':').unwrap().1.parse().unwrap()).collect();
    assert!(times.is_sorted());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_reply_is_not_sent_before_its_line_is_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("desk.jsonl");
    let desk = spawn(Options { log: Some(path.clone()), ..Options::default() }).unwrap();
    for sent in 1..=20 {
        send(&desk, &update(sent));
        assert_eq!(Judgement::read(&path).unwrap().applied, sent);
    }
    assert!(Judgement::read(&path).unwrap().worst_second >= 1);
}

#[test]
fn a_log_that_cannot_be_written_ends_the_sandbox_without_a_reply() {
    let desk = spawn(Options { log: Some("/dev/full".into()), ..Options::default() }).unwrap();
    assert_eq!(exchange(&desk, &post(&update(7))).0, "");
    let error = desk.finish().unwrap_err();
    assert!(error.to_string().contains("failed to write the log /dev/full"), "{error}");
    assert!(spawn(Options { log: Some("/nowhere/desk.jsonl".into()), ..Options::default() }).is_err());
}

#[test]
fn a_client_that_does_not_wait_for_the_reply_was_heard_all_the_same() {
    let hour = Duration::from_secs(3_600);
    let desk = spawn(Options { latency: Latency { min: hour, max: hour }, ..Options::default() }).unwrap();
    let mut stream = TcpStream::connect(authority(&desk)).unwrap();
    stream.write_all(post(&update(7)).as_bytes()).unwrap();
    drop(stream);
    while desk.counts().requests == 0 {
        std::thread::yield_now();
    }
    assert_eq!(desk.counts().applied, 1);
}

#[test]
fn a_taken_port_and_a_script_that_is_no_http_are_told_at_the_start() {
    let desk = spawn(Options::default()).unwrap();
    let port = authority(&desk).rsplit_once(':').unwrap().1.parse().unwrap();
    let error = spawn(Options { port, ..Options::default() }).err().unwrap();
    assert!(error.to_string().contains("choose another port"), "{error}");
    for reply in [Reply::status(99), Reply::status(101), Reply::status(429).header("retry-after", "1\r\n2")] {
        assert!(spawn(scripted([Fate::new(When::Always, reply)])).is_err());
    }
}

#[test]
fn run_until_tells_its_url_and_ends_when_it_is_told_to() {
    let stop = CancellationToken::new();
    let (tell, told) = std::sync::mpsc::channel();
    let until = stop.clone();
    let thread = std::thread::spawn(move || {
        run_until(Options::default(), until, |url| tell.send(url.to_owned()).unwrap())
    });
    let url = told.recv().unwrap();
    assert!(url.starts_with("http://127.0.0.1:") && url.ends_with(PATH), "{url}");
    stop.cancel();
    assert_eq!(thread.join().unwrap().unwrap(), Counts::default());
}
