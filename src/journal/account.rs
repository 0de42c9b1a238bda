//! One process for one account, whatever the journal: a locked file beside the journals.
//!
//! The desk counts requests for each account, and the promise is for each journal; two processes on one account
//! would break both. The file also remembers which journal the account's runs are in and how often it was
//! started, so that a journal that was deleted, or replaced by an older copy, is noticed: such a journal has
//! forgotten intents, and would repeat updates. What is not noticed: a copy taken and put back between two
//! starts.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{TransactionBehavior, params};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Journal;
use super::runs::DeskId;
use crate::error::Error;
use crate::folders;

/// The record is padded to one size and written in one go: no shorter one can leave a tail of a longer, and a
/// disk writes a sector of 512 bytes whole.
const RECORD_BYTES: usize = 512;

/// Somebody who only looks whether the account is held ([`AccountLock::is_held`]) is in the way for a moment: so
/// many tries, with such a wait between them, before it is taken for another process at work.
const TRIES: u32 = 10;
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// What the file remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    journal: String,
    epoch: u64,
    pid: u32,
    /// Something was about to be sent, or was settled, with this journal: until then another one knows as much.
    #[serde(default = "yes")]
    is_bound: bool,
}

/// Of a record as older versions wrote it: with the first start.
const fn yes() -> bool {
    true
}

/// The account, held. Dropping it lets go.
#[derive(Debug)]
pub struct AccountLock {
    file: File,
    path: PathBuf,
    record: Option<Record>,
}

impl AccountLock {
    /// Takes the account of `desk`, or says who has it ([`Error::Overlap`]).
    pub fn acquire(state_folder: &Path, desk: &DeskId) -> Result<Self, Error> {
        let path = path(state_folder, desk);
        folders::make(folders::parent(&path))?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| Error::file("open the account file", &path, &error))?;
        match lock(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let who = read(&mut file, &path)
                    .ok()
                    .flatten()
                    .map_or_else(String::new, |record| format!(" (process {})", record.pid));
                return Err(Error::Overlap(format!(
                    "another deskload{who} works for the account {} at {}; nothing was sent; wait for it to end",
                    desk.account_email, desk.url
                )));
            }
            Err(TryLockError::Error(error)) => {
                return Err(Error::file("lock the account file", &path, &error));
            }
        }
        let record = read(&mut file, &path)?;
        if record.is_none() {
            // It is new: what will be written into it must be found after a power cut.
            folders::sync(folders::parent(&path))?;
        }
        Ok(Self { file, path, record })
    }

    /// Whether somebody holds the account now.
    #[must_use]
    pub fn is_held(state_folder: &Path, desk: &DeskId) -> bool {
        File::open(path(state_folder, desk))
            .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Checks that `journal` is the one the account was last worked on with, and raises the epoch in both.
    /// With `accept`, another journal becomes the account's own. A journal is the account's own once it is bound
    /// ([`AccountLock::bind`]); before, nothing was sent that another one would not know of.
    pub fn confirm(&mut self, journal: &mut Journal, desk: &DeskId, accept: bool) -> Result<(), Error> {
        let epoch = journal.epoch(desk)?;
        let bound = self.record.as_ref().filter(|record| record.is_bound);
        if let Some(record) = bound.filter(|_| !accept) {
            if record.journal != journal.uuid() {
                return Err(Error::Machine(format!(
                    "the journal {} is not the one that this account's runs are in, so it cannot know what was \
                     sent; put that one back, or name it with --journal; if it is gone for good, --accept-journal \
                     goes on with this one (the account file is {})",
                    journal.path().display(),
                    self.path.display()
                )));
            }
            if epoch < record.epoch {
                return Err(Error::Machine(format!(
                    "the journal {} is an older copy: it has seen {epoch} starts for this account, and there were {}; \
                     what was sent since is not in it; put the newer one back, or go on with --accept-journal",
                    journal.path().display(),
                    record.epoch
                )));
            }
        }
        // The journal first: a kill between the two leaves it ahead, which is not mistaken for an older copy.
        let epoch = epoch.max(self.record.as_ref().map_or(0, |record| record.epoch)) + 1;
        // A journal that has sent is the account's own, also where the account file is new.
        let is_bound = bound.is_some() || journal.has_sent(desk)?;
        journal.set_epoch(desk, epoch)?;
        self.write(&Record { journal: journal.uuid().to_owned(), epoch, pid: std::process::id(), is_bound })
    }

    /// Makes the journal that was confirmed the account's own: before anything is sent or settled with it.
    pub fn bind(&mut self) -> Result<(), Error> {
        match self.record.clone().filter(|record| !record.is_bound) {
            Some(record) => self.write(&Record { is_bound: true, ..record }),
            None => Ok(()),
        }
    }

    fn write(&mut self, record: &Record) -> Result<(), Error> {
        let failed = |error: std::io::Error| Error::file("write the account file", &self.path, &error);
        let mut text = serde_json::to_string(record)
            .map_err(|error| Error::Machine(format!("failed to write the account file: {error}")))?;
        let padding = RECORD_BYTES.saturating_sub(text.len() + 1);
        text.extend(std::iter::repeat_n(' ', padding));
        text.push('\n');
        self.file.seek(SeekFrom::Start(0)).map_err(failed)?;
        self.file.write_all(text.as_bytes()).map_err(failed)?;
        self.file.sync_all().map_err(failed)?;
        self.record = Some(record.clone());
        Ok(())
    }
}

fn lock(file: &File) -> Result<(), TryLockError> {
    for _ in 1..TRIES {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(TRY_AGAIN_AFTER),
            other => return other,
        }
    }
    file.try_lock()
}

/// The file's name is a digest: an e-mail is nobody's business in a folder listing.
fn path(state_folder: &Path, desk: &DeskId) -> PathBuf {
    let digest = Sha256::digest(format!("{}\n{}", desk.url, desk.account_email));
    let name = digest.iter().take(16).fold(String::new(), |name, byte| format!("{name}{byte:02x}"));
    state_folder.join("accounts").join(name + ".lock")
}

fn read(file: &mut File, path: &Path) -> Result<Option<Record>, Error> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0))
        .and_then(|_| file.read_to_string(&mut text))
        .map_err(|error| Error::file("read the account file", path, &error))?;
    // Nothing but zeros is what some file systems leave of a first record that a power cut kept from the disk: its
    // length without its bytes. It was not synced, so nothing was sent under it.
    if text.trim_matches(['\0', ' ', '\n']).is_empty() {
        return Ok(None);
    }
    serde_json::from_str(text.trim_end()).map(Some).map_err(|_| {
        Error::Machine(format!(
            "the account file {} is damaged, so it is not known which journal this account's runs are in; \
             if you are sure of the journal, remove the file and go on",
            path.display()
        ))
    })
}

impl Journal {
    fn epoch(&self, desk: &DeskId) -> Result<u64, Error> {
        self.conn
            .query_row(
                "SELECT coalesce(max(epoch), 0) FROM account WHERE url = ?1 AND email = ?2",
                [&desk.url, &desk.account_email],
                |row| row.get(0),
            )
            .map_err(self.explain("read"))
    }

    fn has_sent(&self, desk: &DeskId) -> Result<bool, Error> {
        self.conn
            .query_row(
                "SELECT EXISTS (SELECT 1 FROM run JOIN account ON account.id = run.account
                     WHERE url = ?1 AND email = ?2 AND attempts > 0)",
                [&desk.url, &desk.account_email],
                |row| row.get(0),
            )
            .map_err(self.explain("read"))
    }

    fn set_epoch(&mut self, desk: &DeskId, epoch: u64) -> Result<(), Error> {
        let failed = self.explain("write");
        let set = |conn: &mut rusqlite::Connection| {
            let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            tx.execute(
                "INSERT INTO account (url, email, epoch) VALUES (?1, ?2, ?3)
                 ON CONFLICT (url, email) DO UPDATE SET epoch = excluded.epoch",
                params![desk.url, desk.account_email, epoch],
            )?;
            tx.commit()
        };
        set(&mut self.conn).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    use crate::journal::state::Ending;
    use crate::journal::tests::{csv, desk, end, opened};

    /// A state folder, and how to start on a journal in it.
    struct Bench(tempfile::TempDir);

    impl Bench {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn journal(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn start(&self, name: &str, accept: bool) -> Result<AccountLock, Error> {
            let mut account = AccountLock::acquire(self.0.path(), &desk())?;
            let mut journal = Journal::open(&self.journal(name))?;
            account.confirm(&mut journal, &desk(), accept)?;
            account.bind()?;
            journal.close()?;
            Ok(account)
        }

        fn refusal(&self, name: &str) -> String {
            match self.start(name, false) {
                Err(Error::Machine(why)) => why,
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_second_holder_is_turned_away_until_the_first_lets_go() {
        let bench = Bench::new();
        let first = bench.start("a", false).unwrap();
        assert!(AccountLock::is_held(bench.0.path(), &desk()));
        let error = bench.start("a", false).unwrap_err();
        assert!(matches!(&error, Error::Overlap(why) if why.contains("(process ")), "{error}");
        let same = DeskId::new("https://desk.example/", " OPS@Example.com ");
        assert!(AccountLock::acquire(bench.0.path(), &same).is_err(), "the desk does not mind the case");
        let other = DeskId::new("https://desk.example/", "else@example.com");
        assert!(AccountLock::acquire(bench.0.path(), &other).is_ok());
        drop(first);
        assert!(!AccountLock::is_held(bench.0.path(), &desk()));
        bench.start("a", false).unwrap();
    }

    #[test]
    fn another_journal_is_refused_and_can_be_accepted() {
        let bench = Bench::new();
        bench.start("a", false).unwrap();
        let why = bench.refusal("b");
        assert!(why.contains("not the one") && why.contains("--accept-journal"), "{why}");
        bench.start("a", false).unwrap();
        bench.start("b", true).unwrap();
        bench.start("b", false).unwrap();
        assert!(bench.refusal("a").contains("not the one"), "b is the account's own now");
    }

    #[test]
    fn a_journal_with_which_nothing_was_sent_is_not_the_account_s_own() {
        let bench = Bench::new();
        let look = |name: &str| {
            let mut account = AccountLock::acquire(bench.0.path(), &desk()).unwrap();
            let mut journal = Journal::open(&bench.journal(name)).unwrap();
            account.confirm(&mut journal, &desk(), false).unwrap();
            journal.close().unwrap();
        };
        look("a");
        look("b");
        look("a");
        bench.start("b", false).unwrap();
        assert!(bench.refusal("a").contains("not the one"));
        look("b");
        assert!(bench.refusal("a").contains("not the one"), "a start that sends nothing unbinds nothing");
        // As older versions wrote it.
        let file = path(bench.0.path(), &desk());
        let older = fs::read_to_string(&file).unwrap().replace(",\"is_bound\":true", "");
        fs::write(&file, older).unwrap();
        assert!(bench.refusal("a").contains("not the one"));
    }

    #[test]
    fn a_journal_that_has_sent_is_the_account_s_own_although_the_account_file_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let (_spools, mut sent, run) = opened(&csv(1));
        end(&mut sent, &run, &[1], &Ending::Applied);
        let mut account = AccountLock::acquire(folder.path(), &desk()).unwrap();
        account.confirm(&mut sent, &desk(), false).unwrap();
        let mut other = Journal::open(&folder.path().join("other")).unwrap();
        assert!(account.confirm(&mut other, &desk(), false).is_err());
    }

    #[test]
    fn an_older_copy_of_the_journal_is_refused_and_can_be_accepted() {
        let bench = Bench::new();
        bench.start("a", false).unwrap();
        fs::copy(bench.journal("a"), bench.journal("copy")).unwrap();
        bench.start("a", false).unwrap();
        fs::copy(bench.journal("copy"), bench.journal("a")).unwrap();
        assert!(bench.refusal("a").contains("older copy"));
        bench.start("a", true).unwrap();
        bench.start("a", false).unwrap();
    }

    #[test]
    fn a_deleted_journal_is_noticed() {
        let bench = Bench::new();
        bench.start("a", false).unwrap();
        fs::remove_file(bench.journal("a")).unwrap();
        assert!(bench.refusal("a").contains("not the one"));
    }

    #[test]
    fn a_kill_between_the_journal_and_the_account_file_is_not_taken_for_an_older_copy() {
        let bench = Bench::new();
        bench.start("a", false).unwrap();
        let mut journal = Journal::open(&bench.journal("a")).unwrap();
        let ahead = journal.epoch(&desk()).unwrap() + 1;
        journal.set_epoch(&desk(), ahead).unwrap();
        journal.close().unwrap();
        bench.start("a", false).unwrap();
    }

    #[test]
    fn a_damaged_account_file_is_refused_with_its_name() {
        let bench = Bench::new();
        bench.start("a", false).unwrap();
        let file = path(bench.0.path(), &desk());
        assert_eq!(fs::read(&file).unwrap().len(), RECORD_BYTES);
        fs::write(&file, "{\"journal\":").unwrap();
        let error = bench.start("a", false).unwrap_err();
        assert!(error.to_string().contains(&file.display().to_string()), "{error}");
    }

    #[test]
    fn a_first_record_that_a_power_cut_left_as_zeros_is_none() {
        let bench = Bench::new();
        drop(AccountLock::acquire(bench.0.path(), &desk()).unwrap());
        let file = path(bench.0.path(), &desk());
        fs::write(&file, [0; RECORD_BYTES]).unwrap();
        bench.start("a", false).unwrap();
        assert!(bench.refusal("b").contains("not the one"), "the record is there now");
    }

    #[test]
    fn a_look_at_the_account_does_not_pass_for_a_process_at_work() {
        let folder = tempfile::tempdir().unwrap();
        let desk = DeskId::new("http://127.0.0.1/", "ops@example.com");
        drop(AccountLock::acquire(folder.path(), &desk).unwrap());
        let looking = File::open(path(folder.path(), &desk)).unwrap();
        looking.lock_shared().unwrap();
        let look = std::thread::spawn(move || {
            std::thread::sleep(2 * TRY_AGAIN_AFTER);
            drop(looking);
        });
        let held = AccountLock::acquire(folder.path(), &desk).unwrap();
        look.join().unwrap();
        assert!(AccountLock::is_held(folder.path(), &desk));
        drop(held);
    }
}
