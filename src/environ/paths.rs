//! SCRIPT_NAME and PATH_INFO: the two parts of a path, runs of slashes in each made one.

use crate::httpd::{Pool, Request};

/// The two parts of the path of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paths<'r> {
    /// What leads to the application.
    pub script_name: &'r [u8],
    /// What follows it.
    pub path_info: &'r [u8],
}

/// Splits the path as httpd's walk through the directories found it to be.
pub fn of(request: Request<'_>) -> Paths<'_> {
    let uri = request.uri().unwrap_or_default();
    let path_info = request.path_info().unwrap_or_default();
    // In a page that includes this request, the path is the included one's.
    let is_included = request.protocol() == Some(b"INCLUDED");
    let end = if path_info.is_empty() || is_included {
        uri.len()
    } else {
        request.length_before_path_info()
    };
    Paths {
        script_name: collapsed(request.pool(), &uri[..end.min(uri.len())]),
        path_info: collapsed(request.pool(), path_info),
    }
}

/// `path` with every run of slashes made one.
fn collapsed<'r>(pool: Pool<'r>, path: &'r [u8]) -> &'r [u8] {
    let length = kept(path).count();
    if length == path.len() {
        return path;
    }
    let collapsed: Vec<u8> = kept(path).collect();
    pool.text(&collapsed).to_bytes()
}

fn kept(path: &[u8]) -> impl Iterator<Item = u8> {
    let mut before = 0;
    path.iter().copied().filter(move |&byte| {
        let keep = byte != b'/' || before != b'/';
        before = byte;
        keep
    })
}

#[cfg(test)]
mod tests {
    use super::kept;

    #[test]
    fn a_run_of_slashes_is_one() {
        let collapsed = |path: &str| String::from_utf8(kept(path.as_bytes()).collect()).unwrap();
        assert_eq!(collapsed("//a///b/"), "/a/b/");
        assert_eq!(collapsed("/"), "/");
        assert_eq!(collapsed(""), "");
        assert_eq!(collapsed("a//"), "a/");
    }
}
