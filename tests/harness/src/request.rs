//! What a caller wants of a test program: as much of the usual arguments as `cargo test` and `cargo nextest` use.

/// The arguments, understood. Others change how a result is shown, and are not followed.
#[derive(Debug, Default)]
pub(crate) struct Request {
    /// Name the tests instead of running them.
    pub(crate) list: bool,
    /// Only those that are ignored, which none is.
    ignored: bool,
    exact: bool,
    words: Vec<String>,
    skipped: Vec<String>,
}

impl Request {
    pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> Self {
        let mut request = Self::default();
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--list" => request.list = true,
                "--ignored" => request.ignored = true,
                "--exact" => request.exact = true,
                "--skip" => request.skipped.extend(args.next()),
                // Their values are arguments of their own.
                "--color" | "--format" | "--logfile" | "--test-threads" | "-Z" => drop(args.next()),
                flag if flag.starts_with('-') => {
                    request.skipped.extend(flag.strip_prefix("--skip=").map(str::to_owned))
                }
                word => request.words.push(word.to_owned()),
            }
        }
        request
    }

    pub(crate) fn wants(&self, name: &str) -> bool {
        let is_meant = |word: &String| if self.exact { name == word } else { name.contains(word) };
        !self.ignored
            && (self.words.is_empty() || self.words.iter().any(is_meant))
            && !self.skipped.iter().any(is_meant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(line: &str) -> Vec<&'static str> {
        let request = Request::parse(line.split_whitespace().map(str::to_owned));
        ["a_leaf_falls", "a_leaf_falls_twice", "rain"].into_iter().filter(|name| request.wants(name)).collect()
    }

    #[test]
    fn without_a_word_all_are_wanted_and_with_one_those_that_contain_it() {
        assert_eq!(wanted("").len(), 3);
        assert_eq!(wanted("leaf"), ["a_leaf_falls", "a_leaf_falls_twice"]);
        assert_eq!(wanted("twice rain"), ["a_leaf_falls_twice", "rain"]);
        assert!(wanted("snow").is_empty());
    }

    #[test]
    fn an_exact_name_is_no_part_of_another() {
        assert_eq!(wanted("a_leaf_falls --exact --nocapture"), ["a_leaf_falls"]);
        assert!(wanted("leaf --exact").is_empty());
    }

    #[test]
    fn what_is_skipped_is_not_run() {
        assert_eq!(wanted("--skip leaf"), ["rain"]);
        assert_eq!(wanted("--skip=rain leaf --skip twice"), ["a_leaf_falls"]);
    }

    #[test]
    fn the_value_of_an_option_is_no_name() {
        assert_eq!(wanted("--test-threads 1 --color always --format terse -q").len(), 3);
    }

    #[test]
    fn the_tests_are_listed_and_none_is_an_ignored_one() {
        assert!(Request::parse(["--list".to_owned()]).list);
        assert!(wanted("--list --format terse --ignored").is_empty());
    }
}
