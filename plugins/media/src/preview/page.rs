//! What a page says of itself: OpenGraph, and what stands in for it.

use html5gum::{DefaultEmitter, StartTag, Token, Tokenizer};
use serde_json::{Map, Value};
use url::Url;

/// Properties of one page, and the bytes of one.
const MAX_PROPERTIES: usize = 40;
const MAX_VALUE: usize = 2_000;
/// Characters of a description made of the page's text.
const MAX_TEXT: usize = 500;
/// Pictures that are tried.
const MAX_PICTURES: usize = 3;

/// A page.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// `og:…`
    pub(crate) properties: Map<String, Value>,
    /// Where its picture may be, the best first.
    pub(crate) pictures: Vec<Url>,
}

/// What is gathered on the way through.
#[derive(Default)]
struct Gathered {
    properties: Map<String, Value>,
    base: Option<Url>,
    /// Weight (less is better) and address.
    pictures: Vec<(u8, String)>,
    /// Of `twitter:…`, `name="description"`, `<title>`, the first heading.
    twitter_title: String,
    twitter_description: String,
    title: String,
    heading: String,
    description: String,
    text: String,
}

/// Reads a page that was found at `url`.
pub(crate) fn read(html: &str, url: &Url) -> Page {
    let mut emitter = DefaultEmitter::<()>::default();
    // Scripts and styles are no markup.
    emitter.naively_switch_states(true);
    let mut gathered = Gathered::default();
    let mut within: Vec<u8> = Vec::new();
    for Ok(token) in Tokenizer::new_with_emitter(html, emitter) {
        match token {
            Token::StartTag(tag) => {
                gathered.start(&tag, url);
                if TEXTS.contains(&tag.name.as_slice()) && !tag.self_closing {
                    within = tag.name.0;
                }
            }
            Token::EndTag(tag) => {
                if tag.name.0 == within {
                    within.clear();
                }
            }
            Token::String(text) => {
                let text = String::from_utf8_lossy(&text);
                match within.as_slice() {
                    b"title" => append(&mut gathered.title, &text),
                    b"h1" => append(&mut gathered.heading, &text),
                    b"p" => append(&mut gathered.text, &text),
                    _ => {}
                }
            }
            Token::Comment(_) | Token::Doctype(_) | Token::Error(_) => {}
        }
    }
    gathered.finish(url)
}

/// Elements whose text counts. Others within them are looked through.
const TEXTS: &[&[u8]] = &[b"title", b"h1", b"p"];

impl Gathered {
    fn start(&mut self, tag: &StartTag<()>, page: &Url) {
        let attribute = |name: &str| {
            let value = tag.attributes.get(name.as_bytes())?;
            Some(String::from_utf8_lossy(value).trim().to_owned())
        };
        match tag.name.as_slice() {
            b"meta" => {
                let Some(content) = attribute("content").filter(|text| !text.is_empty()) else {
                    return;
                };
                for name in ["property", "name", "itemprop"].into_iter().filter_map(attribute) {
                    self.meta(&name.to_ascii_lowercase(), &content);
                }
            }
            b"base" if self.base.is_none() => {
                self.base = attribute("href").and_then(|to| page.join(&to).ok());
            }
            b"link" => {
                let rel = attribute("rel").unwrap_or_default().to_ascii_lowercase();
                let weight = match rel.as_str() {
                    "image_src" => 2,
                    "apple-touch-icon" => 4,
                    "icon" | "shortcut icon" => 5,
                    _ => return,
                };
                self.picture(weight, attribute("href"));
            }
            _ => {}
        }
    }

    fn meta(&mut self, name: &str, content: &str) {
        let content = short(content, MAX_VALUE);
        if name.starts_with("og:") && name.len() <= 100 {
            if name == "og:image" || name == "og:image:url" || name == "og:image:secure_url" {
                self.picture(0, Some(content.clone()));
            }
            // The first one counts where there are several.
            if self.properties.len() < MAX_PROPERTIES && !self.properties.contains_key(name) {
                self.properties.insert(name.to_owned(), content.into());
            }
            return;
        }
        match name {
            "twitter:image" | "twitter:image:src" => self.picture(1, Some(content)),
            "image" => self.picture(3, Some(content)),
            "twitter:title" if self.twitter_title.is_empty() => self.twitter_title = content,
            "twitter:description" if self.twitter_description.is_empty() => {
                self.twitter_description = content;
            }
            "description" if self.description.is_empty() => self.description = content,
            _ => {}
        }
    }

    fn picture(&mut self, weight: u8, address: Option<String>) {
        if let Some(address) = address.filter(|text| !text.is_empty())
            && self.pictures.len() < 32
        {
            self.pictures.push((weight, address));
        }
    }

    fn finish(mut self, page: &Url) -> Page {
        let base = self.base.as_ref().unwrap_or(page);
        self.pictures.sort_by_key(|(weight, _)| *weight);
        let mut pictures: Vec<Url> = Vec::new();
        for (_, address) in &self.pictures {
            let url =
                base.join(address).ok().filter(|url| ["http", "https"].contains(&url.scheme()));
            if let Some(url) = url.filter(|url| !pictures.contains(url)) {
                pictures.push(url);
            }
        }
        pictures.truncate(MAX_PICTURES);
        let mut properties = self.properties;
        let mut fall_back = |name: &str, texts: [&str; 3]| {
            let text = texts.into_iter().map(str::trim).find(|text| !text.is_empty());
            if let (false, Some(text)) = (properties.contains_key(name), text) {
                properties.insert(name.to_owned(), short(text, MAX_TEXT).into());
            }
        };
        fall_back("og:title", [&self.twitter_title, &self.title, &self.heading]);
        fall_back("og:description", [&self.twitter_description, &self.description, &self.text]);
        Page { properties, pictures }
    }
}

/// Adds text, its white space made one.
fn append(to: &mut String, text: &str) {
    for word in text.split_whitespace() {
        if to.len() > MAX_VALUE {
            return;
        }
        if !to.is_empty() {
            to.push(' ');
        }
        to.push_str(word);
    }
}

/// At most so many bytes, whole characters, and a sign that there was more.
fn short(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let end = (0..=max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}…", text.get(..end).unwrap_or(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(html: &str) -> Page {
        read(html, &Url::parse("https://example.org/a/b.html").unwrap())
    }

    #[test]
    fn page_is_what_its_open_graph_says() {
        let page = page(
            r#"<html prefix="og: http://ogp.me/ns#"><head><title>The Rock (1996)</title>
            <meta property="og:title" content="The &quot;Rock&quot;" /><meta property="og:type" content="video.movie" />
            <meta property='og:image' content=test.png><meta property="og:title" content="second"></head><body></body></html>"#,
        );
        assert_eq!(page.properties["og:title"], "The \"Rock\"");
        assert_eq!(page.properties["og:type"], "video.movie");
        assert_eq!(page.pictures[0].as_str(), "https://example.org/a/test.png");
        assert!(!page.properties.contains_key("og:description"));
    }

    #[test]
    fn page_without_open_graph_is_what_it_shows() {
        let page = page(
            "<base href='/c/'><title> A  page\n</title><script>document.write('<title>x</title><p>y')</script>\
             <meta name=twitter:image content=t.png><link rel=icon href=//example.com/i.ico>\
             <h1>Head</h1><p>Some <b>bold</b> words</p> between <p>and more</p>",
        );
        assert_eq!(page.properties["og:title"], "A page");
        assert_eq!(page.properties["og:description"], "Some bold words and more");
        let pictures: Vec<_> = page.pictures.iter().map(Url::as_str).collect();
        assert_eq!(pictures, ["https://example.org/c/t.png", "https://example.com/i.ico"]);
    }

    #[test]
    fn endless_pages_end() {
        let many: String =
            (0..500).map(|n| format!("<meta property='og:x{n}' content='y'>")).collect();
        assert_eq!(page(&many).properties.len(), MAX_PROPERTIES);
        let long = format!("<title>{}", "ä".repeat(100_000));
        let page = page(&long);
        assert!(page.properties["og:title"].as_str().unwrap().len() <= MAX_TEXT + 3);
    }

    #[test]
    fn pictures_are_pages_only() {
        assert!(page("<meta property=og:image content='file:///etc/passwd'>").pictures.is_empty());
        assert!(
            page("<meta property=og:image content='data:image/png;base64,AA'>").pictures.is_empty()
        );
    }
}
