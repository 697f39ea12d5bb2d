//! Executes the kernel's requests on the tree.

use std::ffi::OsStr;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use super::Requests;
use super::file::{File, PAGE};
use super::tree::{Body, Folder, Node, Number, Owner, Tree};

/// The kernel may cache everything: all changes go through it, and a loss of power clears its caches.
const BELIEVED: Duration = Duration::from_secs(3600);

const GENERATION: Generation = Generation(0);

/// File handles are not used: the kernel names the file in each request.
const HANDLE: FileHandle = FileHandle(0);

/// Converts a file size or a position.
fn size(bytes: u64) -> Result<usize, Errno> {
    usize::try_from(bytes).map_err(|_| Errno::EFBIG)
}

fn attributes(number: Number, node: &Node) -> FileAttr {
    let (kind, size) = match &node.body {
        Body::File(file) => (FileType::RegularFile, file.len() as u64),
        Body::Folder(_) => (FileType::Directory, PAGE as u64),
        Body::Link(to) => (FileType::Symlink, to.as_os_str().len() as u64),
    };
    // No test reads timestamps.
    let when = UNIX_EPOCH;
    FileAttr {
        ino: INodeNo(number),
        size,
        blocks: node.body.pages() * (PAGE as u64 / 512),
        atime: when,
        mtime: when,
        ctime: when,
        crtime: when,
        kind,
        perm: node.owner.mode,
        nlink: 1,
        uid: node.owner.user,
        gid: node.owner.group,
        rdev: 0,
        blksize: PAGE as u32,
        flags: 0,
    }
}

fn described(tree: &Tree, number: Number) -> Result<FileAttr, Errno> {
    Ok(attributes(number, tree.node(number)?))
}

impl Requests {
    fn make(
        &self,
        request: &Request,
        (parent, name): (INodeNo, &OsStr),
        body: Body,
        mode: u32,
    ) -> Result<FileAttr, Errno> {
        // The kernel has applied the umask already.
        let owner = Owner { user: request.uid(), group: request.gid(), mode: (mode & 0o7777) as u16 };
        self.answer(|tree| {
            let number = tree.make(parent.0, name, body, owner)?;
            described(tree, number)
        })
    }
}

fn entry(made: Result<FileAttr, Errno>, reply: ReplyEntry) {
    match made {
        Ok(attributes) => reply.entry(&BELIEVED, &attributes, GENERATION),
        Err(errno) => reply.error(errno),
    }
}

fn done(result: Result<(), Errno>, reply: ReplyEmpty) {
    match result {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

impl Filesystem for Requests {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.answer(|tree| tree.find(parent.0, name).and_then(|number| described(tree, number)));
        entry(found, reply);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.answer(|tree| described(tree, ino.0)) {
            Ok(attributes) => reply.attr(&BELIEVED, &attributes),
            Err(errno) => reply.error(errno),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        user: Option<u32>,
        group: Option<u32>,
        len: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let set = self.answer(|tree| {
            if let Some(len) = len {
                let len = size(len)?;
                tree.change(ino.0, len, |file| file.resize(len))?;
            }
            let owner = &mut tree.node_mut(ino.0)?.owner;
            owner.mode = mode.map_or(owner.mode, |mode| (mode & 0o7777) as u16);
            owner.user = user.unwrap_or(owner.user);
            owner.group = group.unwrap_or(owner.group);
            described(tree, ino.0)
        });
        match set {
            Ok(attributes) => reply.attr(&BELIEVED, &attributes),
            Err(errno) => reply.error(errno),
        }
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        let read = self.answer(|tree| match &tree.node(ino.0)?.body {
            Body::Link(to) => Ok(to.clone()),
            Body::File(_) | Body::Folder(_) => Err(Errno::EINVAL),
        });
        match read {
            Ok(to) => reply.data(to.as_os_str().as_encoded_bytes()),
            Err(errno) => reply.error(errno),
        }
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, reply: ReplyEntry) {
        entry(self.make(request, (parent, name), Body::Folder(Folder::default()), mode), reply);
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, to: &Path, reply: ReplyEntry) {
        entry(self.make(request, (parent, name), Body::Link(to.to_owned()), 0o777), reply);
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        match self.make(request, (parent, name), Body::File(File::default()), mode) {
            Ok(attributes) => {
                reply.created(&BELIEVED, &attributes, GENERATION, HANDLE, FopenFlags::FOPEN_KEEP_CACHE);
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(self.answer(|tree| tree.unlink(parent.0, name)), reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(self.answer(|tree| tree.unlink(parent.0, name)), reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        to_parent: INodeNo,
        to_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let renamed = self.answer(|tree| {
            if flags.contains(RenameFlags::RENAME_NOREPLACE) && tree.find(to_parent.0, to_name).is_ok() {
                return Err(Errno::EEXIST);
            }
            if !flags.difference(RenameFlags::RENAME_NOREPLACE).is_empty() {
                return Err(Errno::EINVAL);
            }
            tree.rename((parent.0, name), (to_parent.0, to_name))
        });
        done(renamed, reply);
    }

    fn link(&self, _: &Request, ino: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let linked = self.answer(|tree| {
            tree.link(ino.0, parent.0, name)?;
            described(tree, ino.0)
        });
        entry(linked, reply);
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(HANDLE, FopenFlags::FOPEN_KEEP_CACHE);
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        len: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let tree = self.shared.tree();
        match size(offset).and_then(|offset| Ok(tree.file(ino.0)?.read(offset, len as usize))) {
            Ok(data) => reply.data(data),
            Err(errno) => reply.error(errno),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let written = self.answer(|tree| {
            let offset = size(offset)?;
            tree.change(ino.0, offset + data.len(), |file| file.write(offset, data))
        });
        match written {
            Ok(()) => reply.written(data.len() as u32),
            Err(errno) => reply.error(errno),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.sync(ino.0, reply);
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.sync(ino.0, reply);
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let tree = self.shared.tree();
        let folder = match tree.folder(ino.0) {
            Ok(folder) => folder,
            Err(errno) => return reply.error(errno),
        };
        let own = [(OsStr::new("."), ino.0), (OsStr::new(".."), ino.0)];
        let inside = folder.names.iter().map(|(name, number)| (name.as_os_str(), *number));
        // The offset is the number of the last entry that was read, counted from 1.
        for (next, (name, number)) in (1..).zip(own.into_iter().chain(inside)).skip(offset as usize) {
            let kind = described(&tree, number).map_or(FileType::RegularFile, |found| found.kind);
            if reply.add(INodeNo(number), next, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let tree = self.shared.tree();
        let (all, free) = (tree.pages_max(), tree.pages_free());
        reply.statfs(all, free, free, 1 << 20, 1 << 20, PAGE as u32, 255, PAGE as u32);
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        len: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        if mode != 0 {
            return reply.error(Errno::EOPNOTSUPP);
        }
        let grown = self.answer(|tree| {
            let end = size(offset + len)?;
            tree.change(ino.0, end, |file| file.resize(end.max(file.len())))
        });
        done(grown, reply);
    }
}
