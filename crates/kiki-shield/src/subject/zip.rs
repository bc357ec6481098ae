//! A ZIP archive in memory (PKWARE APPNOTE 6.3.4): deflated files with names in UTF-8.
//!
//! The same files give the same bytes: their time is always 1980-01-01, the first that the format knows. Archives are
//! small (`EXPORT_BYTES_MAX` of the module beside), so nothing here needs the format's 64-bit extensions.

use std::io::{self, Write as _};

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

const LOCAL: u32 = 0x0403_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
/// 2.0: deflate.
const VERSION: u16 = 20;
/// Names are UTF-8.
const FLAGS: u16 = 1 << 11;
const DEFLATED: u16 = 8;
/// 1980-01-01, 00:00:00.
const TIME_AND_DATE: [u16; 2] = [0, 1 << 5 | 1];

/// An archive that grows.
#[derive(Debug, Default)]
pub(crate) struct Zip {
    bytes: Vec<u8>,
    directory: Vec<u8>,
    files: u16,
}

impl Zip {
    /// Adds a file. `path` has slashes between its names.
    ///
    /// # Errors
    /// The archive is too large for the format.
    pub(crate) fn add(&mut self, path: &str, body: &[u8]) -> io::Result<()> {
        let mut crc = Crc::new();
        crc.update(body);
        let mut deflated = DeflateEncoder::new(Vec::new(), Compression::default());
        deflated.write_all(body)?;
        let deflated = deflated.finish()?;
        let offset = size(self.bytes.len())?;

        // What a local header and the directory's one have in common.
        let mut common = Vec::new();
        for word in [VERSION, FLAGS, DEFLATED, TIME_AND_DATE[0], TIME_AND_DATE[1]] {
            common.extend(word.to_le_bytes());
        }
        for word in [crc.sum(), size(deflated.len())?, size(body.len())?] {
            common.extend(word.to_le_bytes());
        }
        // The length of the name, and of no extra field.
        common.extend(u16::try_from(path.len()).map_err(io::Error::other)?.to_le_bytes());
        common.extend(0u16.to_le_bytes());

        self.bytes.extend(LOCAL.to_le_bytes());
        self.bytes.extend(&common);
        self.bytes.extend(path.as_bytes());
        self.bytes.extend(deflated);
        self.directory.extend(CENTRAL.to_le_bytes());
        self.directory.extend(VERSION.to_le_bytes());
        self.directory.extend(&common);
        // No comment, disk 0, no attributes.
        self.directory.extend([0; 10]);
        self.directory.extend(offset.to_le_bytes());
        self.directory.extend(path.as_bytes());
        self.files = self.files.checked_add(1).ok_or_else(|| io::Error::other("too many files"))?;
        Ok(())
    }

    /// The bytes of the archive.
    ///
    /// # Errors
    /// As [`Zip::add`].
    pub(crate) fn finish(self) -> io::Result<Vec<u8>> {
        let (offset, length) = (size(self.bytes.len())?, size(self.directory.len())?);
        let mut bytes = self.bytes;
        bytes.extend(self.directory);
        bytes.extend(END.to_le_bytes());
        // This disk and the one of the directory.
        bytes.extend([0; 4]);
        for count in [self.files, self.files] {
            bytes.extend(count.to_le_bytes());
        }
        bytes.extend(length.to_le_bytes());
        bytes.extend(offset.to_le_bytes());
        // No comment.
        bytes.extend([0; 2]);
        Ok(bytes)
    }
}

fn size(bytes: usize) -> io::Result<u32> {
    u32::try_from(bytes).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut zip = Zip::default();
        for (path, body) in files {
            zip.add(path, body).unwrap();
        }
        zip.finish().unwrap()
    }

    #[test]
    fn python_reads_what_was_put_in() {
        let long = vec![b'a'; 100_000];
        let files: [(&str, &[u8]); 4] =
            [("manifest.json", b"{}"), ("messages/größe.csv", b"a,b\n1,2\n"), ("empty", b""), ("long", &long)];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.zip");
        std::fs::write(&path, archive(&files)).unwrap();
        let script = "import sys, zipfile\nwith zipfile.ZipFile(sys.argv[1]) as z:\n assert z.testzip() is None\n \
                      print(*[f'{i.filename}={len(z.read(i))}={i.date_time[0]}' for i in z.infolist()], sep=';')";
        let read = Command::new("python3")
            .args(["-X", "utf8", "-c", script])
            .arg(&path)
            .output()
            .expect("python3 is installed");
        assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
        let listed = String::from_utf8(read.stdout).unwrap();
        assert_eq!(listed.trim(), "manifest.json=2=1980;messages/größe.csv=8=1980;empty=0=1980;long=100000=1980");
    }

    #[test]
    fn the_same_files_give_the_same_bytes() {
        let files: [(&str, &[u8]); 2] = [("a", b"1"), ("b", b"2")];
        assert_eq!(archive(&files), archive(&files));
        assert_eq!(archive(&[])[..4], END.to_le_bytes(), "an empty archive is its end");
    }
}
