//! The files and folders of the disk, by number.
//!
//! A name is on the disk once its folder was synced. Permissions are on the disk at once, because no test
//! depends on them.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use fuser::Errno;

use super::file::{File, PAGE, SyncNumber};

/// The number of a file or folder.
pub(super) type Number = u64;

/// The root folder.
pub(super) const ROOT: Number = 1;

/// The names in a folder, with their numbers.
pub(super) type Names = BTreeMap<OsString, Number>;

/// The whole content of the disk.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: HashMap<Number, Node>,
    next: Number,
    /// The maximum number of pages in use.
    pages_max: u64,
    pages: u64,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) body: Body,
    pub(super) owner: Owner,
    /// The number of its names. A node without a name takes no space.
    names: u32,
}

/// Its owner and permissions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    pub(super) user: u32,
    pub(super) group: u32,
    pub(super) mode: u16,
}

#[derive(Debug)]
pub(super) enum Body {
    File(File),
    Folder(Folder),
    Link(PathBuf),
}

#[derive(Debug, Default)]
pub(super) struct Folder {
    pub(super) names: Names,
    synced: Names,
    under_way: BTreeMap<SyncNumber, Names>,
}

impl Body {
    pub(super) fn pages(&self) -> u64 {
        match self {
            Self::File(file) => pages(file.len()),
            Self::Folder(_) | Self::Link(_) => 1,
        }
    }
}

fn pages(bytes: usize) -> u64 {
    bytes.div_ceil(PAGE) as u64
}

impl Tree {
    /// Makes an empty disk with this many pages. Everybody may write to its root folder.
    pub(super) fn new(pages_max: u64) -> Self {
        let owner = Owner { user: 0, group: 0, mode: 0o777 };
        let root = Node { body: Body::Folder(Folder::default()), owner, names: 1 };
        Self { nodes: HashMap::from([(ROOT, root)]), next: ROOT + 1, pages_max, pages: 1 }
    }

    pub(super) fn pages_max(&self) -> u64 {
        self.pages_max
    }

    pub(super) fn pages_free(&self) -> u64 {
        self.pages_max.saturating_sub(self.pages)
    }

    /// Sets the number of free pages.
    pub(super) fn leave_free(&mut self, pages: u64) {
        self.pages_max = self.pages + pages;
    }

    pub(super) fn node(&self, number: Number) -> Result<&Node, Errno> {
        self.nodes.get(&number).ok_or(Errno::ENOENT)
    }

    pub(super) fn node_mut(&mut self, number: Number) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&number).ok_or(Errno::ENOENT)
    }

    pub(super) fn file(&self, number: Number) -> Result<&File, Errno> {
        match &self.node(number)?.body {
            Body::File(file) => Ok(file),
            Body::Folder(_) | Body::Link(_) => Err(Errno::EISDIR),
        }
    }

    pub(super) fn folder(&self, number: Number) -> Result<&Folder, Errno> {
        match &self.node(number)?.body {
            Body::Folder(folder) => Ok(folder),
            Body::File(_) | Body::Link(_) => Err(Errno::ENOTDIR),
        }
    }

    fn names_mut(&mut self, number: Number) -> Result<&mut Names, Errno> {
        match &mut self.node_mut(number)?.body {
            Body::Folder(folder) => Ok(&mut folder.names),
            Body::File(_) | Body::Link(_) => Err(Errno::ENOTDIR),
        }
    }

    pub(super) fn find(&self, parent: Number, name: &OsStr) -> Result<Number, Errno> {
        self.folder(parent)?.names.get(name).copied().ok_or(Errno::ENOENT)
    }

    /// Changes a file that will have at least this length.
    ///
    /// # Errors
    /// If there is no space for it; then nothing is changed.
    pub(super) fn change(
        &mut self,
        number: Number,
        len_min: usize,
        change: impl FnOnce(&mut File),
    ) -> Result<(), Errno> {
        let free = self.pages_free();
        let node = self.node_mut(number)?;
        let Body::File(file) = &mut node.body else { return Err(Errno::EISDIR) };
        let before = pages(file.len());
        if pages(len_min).saturating_sub(before) > free {
            return Err(Errno::ENOSPC);
        }
        change(file);
        let after = pages(file.len());
        if node.names > 0 {
            self.pages = self.pages + after - before;
        }
        Ok(())
    }

    /// Makes a node with this name.
    ///
    /// # Errors
    /// If the name exists, or there is no space.
    pub(super) fn make(
        &mut self,
        parent: Number,
        name: &OsStr,
        body: Body,
        owner: Owner,
    ) -> Result<Number, Errno> {
        if self.pages_free() < body.pages().max(1) {
            return Err(Errno::ENOSPC);
        }
        let number = self.next;
        self.nodes.insert(number, Node { body, owner, names: 0 });
        match self.link(number, parent, name) {
            Ok(()) => self.next += 1,
            Err(_) => drop(self.nodes.remove(&number)),
        }
        self.find(parent, name)
            .and_then(|found| if found == number { Ok(number) } else { Err(Errno::EEXIST) })
    }

    /// Adds a name to a node.
    ///
    /// # Errors
    /// If the name exists.
    pub(super) fn link(&mut self, number: Number, parent: Number, name: &OsStr) -> Result<(), Errno> {
        let names = self.names_mut(parent)?;
        if names.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        names.insert(name.to_owned(), number);
        let node = self.node_mut(number)?;
        node.names += 1;
        if node.names == 1 {
            self.pages += node.body.pages();
        }
        Ok(())
    }

    /// Removes a name. Processes that have the file open keep it.
    ///
    /// # Errors
    /// If it is a folder that is not empty.
    pub(super) fn unlink(&mut self, parent: Number, name: &OsStr) -> Result<(), Errno> {
        let number = self.find(parent, name)?;
        if self.folder(number).is_ok_and(|folder| !folder.names.is_empty()) {
            return Err(Errno::ENOTEMPTY);
        }
        self.names_mut(parent)?.remove(name);
        let node = self.node_mut(number)?;
        node.names -= 1;
        if node.names == 0 {
            self.pages -= node.body.pages();
        }
        Ok(())
    }

    /// Moves a name, and replaces an existing one.
    ///
    /// # Errors
    /// If the existing name is of a folder that is not empty.
    pub(super) fn rename(&mut self, from: (Number, &OsStr), to: (Number, &OsStr)) -> Result<(), Errno> {
        let number = self.find(from.0, from.1)?;
        match self.find(to.0, to.1) {
            Ok(replaced) if replaced == number => return Ok(()),
            Ok(_) => self.unlink(to.0, to.1)?,
            Err(_) => {}
        }
        self.link(number, to.0, to.1)?;
        self.unlink_moved(from)
    }

    /// Removes the old name of a node that was moved.
    fn unlink_moved(&mut self, (parent, name): (Number, &OsStr)) -> Result<(), Errno> {
        if let Some(number) = self.names_mut(parent)?.remove(name) {
            self.node_mut(number)?.names -= 1;
        }
        Ok(())
    }

    /// Whether a sync would have nothing to do.
    pub(super) fn is_synced(&self, number: Number) -> Result<bool, Errno> {
        Ok(match &self.node(number)?.body {
            Body::File(file) => file.is_synced(),
            Body::Folder(folder) => folder.under_way.is_empty() && folder.names == folder.synced,
            Body::Link(_) => true,
        })
    }

    pub(super) fn begin_sync(&mut self, number: Number, sync: SyncNumber) -> Result<(), Errno> {
        match &mut self.node_mut(number)?.body {
            Body::File(file) => file.begin_sync(sync),
            Body::Folder(folder) => drop(folder.under_way.insert(sync, folder.names.clone())),
            Body::Link(_) => {}
        }
        Ok(())
    }

    pub(super) fn end_sync(&mut self, number: Number, sync: SyncNumber) {
        match self.nodes.get_mut(&number).map(|node| &mut node.body) {
            Some(Body::File(file)) => file.end_sync(sync),
            Some(Body::Folder(folder)) => {
                if let Some(names) = folder.under_way.remove(&sync) {
                    folder.synced = names;
                }
            }
            Some(Body::Link(_)) | None => {}
        }
    }

    /// Keeps the synced data, and the unsynced pages and folders that `is_kept` selects at random, as if they had reached the
    /// disk. No file may be open.
    pub(super) fn lose_power(&mut self, mut is_kept: impl FnMut() -> bool) {
        // Nodes are visited in the order of their numbers, so that the same seed causes the same loss.
        let mut numbers: Vec<_> = self.nodes.keys().copied().collect();
        numbers.sort_unstable();
        for number in numbers {
            match self.nodes.get_mut(&number).map(|node| &mut node.body) {
                Some(Body::File(file)) => file.lose_power(&mut is_kept),
                Some(Body::Folder(folder)) => {
                    folder.under_way.clear();
                    if folder.names != folder.synced && is_kept() {
                        folder.synced.clone_from(&folder.names);
                    }
                    folder.names.clone_from(&folder.synced);
                }
                Some(Body::Link(_)) | None => {}
            }
        }
        self.count_anew();
    }

    /// Counts names and pages, and removes unreachable nodes.
    fn count_anew(&mut self) {
        let mut names: HashMap<Number, u32> = HashMap::from([(ROOT, 1)]);
        let mut reached = vec![ROOT];
        while let Some(number) = reached.pop() {
            let inside: Vec<Number> = self
                .folder(number)
                .map(|folder| folder.names.values().copied().collect())
                .unwrap_or_default();
            for inner in inside {
                let count = names.entry(inner).or_default();
                *count += 1;
                if *count == 1 {
                    reached.push(inner);
                }
            }
        }
        self.nodes.retain(|number, node| {
            node.names = names.get(number).copied().unwrap_or(0);
            node.names > 0
        });
        self.pages = self.nodes.values().map(|node| node.body.pages()).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: Owner = Owner { user: 0, group: 0, mode: 0o600 };

    fn make(tree: &mut Tree, name: &str) -> Result<Number, Errno> {
        tree.make(ROOT, OsStr::new(name), Body::File(File::default()), OWNER)
    }

    fn sync(tree: &mut Tree, number: Number) {
        tree.begin_sync(number, SyncNumber(0)).unwrap();
        tree.end_sync(number, SyncNumber(0));
    }

    #[track_caller]
    fn check_names(tree: &Tree, expected: &[&str]) {
        let names: Vec<_> = tree.folder(ROOT).unwrap().names.keys().collect();
        assert_eq!(names, expected);
    }

    #[test]
    fn a_name_is_kept_once_its_folder_was_synced() {
        let mut tree = Tree::new(100);
        let file = make(&mut tree, "kept").unwrap();
        sync(&mut tree, ROOT);
        let other = make(&mut tree, "lost").unwrap();
        sync(&mut tree, other);
        tree.lose_power(|| false);
        check_names(&tree, &["kept"]);
        assert!(tree.node(file).is_ok() && tree.node(other).is_err());
    }

    #[test]
    fn a_rename_is_undone_with_all_that_it_replaced() {
        let mut tree = Tree::new(100);
        let old = make(&mut tree, "name").unwrap();
        tree.change(old, 3, |file| file.write(0, b"old")).unwrap();
        sync(&mut tree, old);
        sync(&mut tree, ROOT);
        make(&mut tree, "new").unwrap();
        tree.rename((ROOT, OsStr::new("new")), (ROOT, OsStr::new("name"))).unwrap();
        check_names(&tree, &["name"]);
        tree.lose_power(|| false);
        check_names(&tree, &["name"]);
        assert_eq!(tree.file(tree.find(ROOT, OsStr::new("name")).unwrap()).unwrap().read(0, 9), b"old");
    }

    #[test]
    fn a_full_disk_takes_what_needs_no_room() {
        let mut tree = Tree::new(100);
        let file = make(&mut tree, "file").unwrap();
        tree.change(file, PAGE, |file| file.resize(PAGE)).unwrap();
        tree.leave_free(0);
        let grown = tree.change(file, PAGE + 1, |file| file.resize(PAGE + 1));
        assert!(matches!(grown, Err(Errno::ENOSPC)));
        assert!(matches!(make(&mut tree, "other"), Err(Errno::ENOSPC)));
        tree.change(file, PAGE, |file| file.write(0, b"again")).unwrap();
        assert_eq!(tree.pages_free(), 0);
        tree.unlink(ROOT, OsStr::new("file")).unwrap();
        assert_eq!(tree.pages_free(), 1);
    }
}
