//! Inode numbers for the nodes of a tree: the names of one directory get numbers in a row, so
//! that listing a directory reads few blocks of the inode table.

use super::directory::Entry;
use super::inode::{FIRST, ROOT};
use crate::image::filesystem::FilesystemError;
use crate::image::tree::{Kind, Node, Tree};

/// Names that one file may have.
const MOST_LINKS: u32 = 65_000;

/// Numbers, parents and link counts.
pub struct Numbered<'t> {
    tree: &'t Tree,
    /// Node and number, ascending by number.
    pub order: Vec<(usize, u32)>,
    /// Number by node; 0 for a node that no directory holds.
    ino: Vec<u32>,
    links: Vec<u32>,
    parent: Vec<usize>,
    /// Whether the tree has a `/lost+found` of its own.
    pub has_lost_found: bool,
}

impl<'t> Numbered<'t> {
    /// Walks the tree from its root and refuses what ext4 cannot name.
    pub fn new(tree: &'t Tree) -> Result<Numbered<'t>, FilesystemError> {
        let count = tree.nodes.len();
        let mut numbered = Numbered {
            tree,
            order: Vec::with_capacity(count),
            ino: vec![0; count],
            links: vec![0; count],
            parent: vec![0; count],
            has_lost_found: false,
        };
        numbered.walk()?;
        numbered.order.sort_unstable_by_key(|(_, ino)| *ino);
        Ok(numbered)
    }

    fn walk(&mut self) -> Result<(), FilesystemError> {
        let tree = self.tree;
        let Some(Kind::Directory(top)) = tree.nodes.first().map(|node| &node.kind) else {
            return Err(self.refuse(0, None, "the root of a tree must be a directory"));
        };
        self.number(0, ROOT);
        self.links[0] = 2;
        let mut next = FIRST + 1;
        if let Some(node) = top.get(b"lost+found".as_slice()) {
            if !matches!(
                tree.nodes.get(*node).map(|node| &node.kind),
                Some(Kind::Directory(_))
            ) {
                return Err(self.refuse(0, Some(b"lost+found"), "ext4 needs a directory here"));
            }
            self.has_lost_found = true;
            self.number(*node, FIRST);
        } else {
            self.links[0] += 1;
        }
        let mut directories = vec![0];
        while let Some(directory) = directories.pop() {
            let Kind::Directory(entries) = &tree.nodes[directory].kind else {
                continue;
            };
            let first_pushed = directories.len();
            for (name, node) in entries {
                if let Some(reason) = unfit(name) {
                    return Err(self.refuse(directory, Some(name), reason));
                }
                let Some(Node { kind, .. }) = tree.nodes.get(*node) else {
                    return Err(self.refuse(directory, Some(name), "the tree lacks its node"));
                };
                if let Kind::Directory(_) = kind {
                    if *node == 0 || self.links[*node] > 0 {
                        let reason = "a directory cannot have two names";
                        return Err(self.refuse(directory, Some(name), reason));
                    }
                    self.links[directory] += 1;
                    self.links[*node] = 2;
                    directories.push(*node);
                } else {
                    self.links[*node] += 1;
                    if self.links[*node] > MOST_LINKS {
                        let reason = "ext4 holds at most 65000 names of one file";
                        return Err(self.refuse(directory, Some(name), reason));
                    }
                }
                if self.ino[*node] == 0 {
                    self.number(*node, next);
                    next += 1;
                }
                self.parent[*node] = directory;
            }
            directories[first_pushed..].reverse();
        }
        Ok(())
    }

    fn number(&mut self, node: usize, ino: u32) {
        self.ino[node] = ino;
        self.order.push((node, ino));
    }

    /// The names in a directory, a `lost+found` of our own in the root included.
    pub fn entries(&self, directory: usize) -> Vec<Entry<'t>> {
        let Kind::Directory(names) = &self.tree.nodes[directory].kind else {
            return Vec::new();
        };
        let mut entries: Vec<Entry> = names
            .iter()
            .map(|(name, node)| Entry {
                name,
                ino: self.ino[*node],
                kind: file_type(&self.tree.nodes[*node].kind),
            })
            .collect();
        if directory == 0 && !self.has_lost_found {
            entries.push(Entry {
                name: b"lost+found",
                ino: FIRST,
                kind: 2,
            });
        }
        entries
    }

    /// Number of a node.
    pub fn ino(&self, node: usize) -> u32 {
        self.ino[node]
    }

    /// Number of the directory that holds a directory; the root holds itself.
    pub fn parent_ino(&self, node: usize) -> u32 {
        self.ino[self.parent[node]]
    }

    /// `i_links_count`: 1 stands for "more than 65000" in directories (`dir_nlink`).
    pub fn links(&self, node: usize) -> u16 {
        match self.tree.nodes[node].kind {
            Kind::Directory(_) if self.links[node] >= MOST_LINKS => 1,
            _ => self.links[node] as u16,
        }
    }

    /// The highest number given.
    pub fn last(&self) -> u32 {
        self.order
            .last()
            .map_or(FIRST, |(_, ino)| (*ino).max(FIRST))
    }

    /// An error about a node.
    pub fn refuse_node(&self, node: usize, reason: impl Into<String>) -> FilesystemError {
        FilesystemError::Node {
            path: self.path(node),
            reason: reason.into(),
        }
    }

    fn refuse(&self, directory: usize, name: Option<&[u8]>, reason: &str) -> FilesystemError {
        let mut path = self.path(directory);
        if let Some(name) = name {
            if !path.ends_with('/') {
                path.push('/');
            }
            path.push_str(&String::from_utf8_lossy(name));
        }
        FilesystemError::Node {
            path,
            reason: reason.into(),
        }
    }

    /// A path of a node, for messages.
    fn path(&self, node: usize) -> String {
        let mut names = Vec::new();
        let mut at = node;
        while at != 0 {
            let parent = self.parent[at];
            if let Some(Kind::Directory(entries)) = self.tree.nodes.get(parent).map(|n| &n.kind) {
                let name = entries
                    .iter()
                    .find(|(_, node)| **node == at)
                    .map(|(name, _)| name);
                names.push(String::from_utf8_lossy(name.map_or(b"?", |n| n)).into_owned());
            }
            at = parent;
        }
        names.reverse();
        format!("/{}", names.join("/"))
    }
}

/// `file_type` of a directory entry.
fn file_type(kind: &Kind) -> u8 {
    match kind {
        Kind::File(_) => 1,
        Kind::Directory(_) => 2,
        Kind::CharDevice(..) => 3,
        Kind::BlockDevice(..) => 4,
        Kind::Fifo => 5,
        Kind::Symlink(_) => 7,
    }
}

/// Why these bytes cannot be a name.
fn unfit(name: &[u8]) -> Option<&'static str> {
    match name {
        b"" => Some("a name cannot be empty"),
        b"." | b".." => Some("a name cannot be `.` or `..`"),
        _ if name.contains(&b'/') => Some("a name cannot hold a slash"),
        _ if name.contains(&0) => Some("a name cannot hold a zero byte"),
        _ if name.len() > 255 => Some("a name in ext4 has at most 255 bytes"),
        _ => None,
    }
}
