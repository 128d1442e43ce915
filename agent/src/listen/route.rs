//! Which page a request gets. Pure.

use super::http::Request;

/// What a listener allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rules {
    /// Only what is seen from outside.
    pub(super) metrics_only: bool,
    /// Refuses requests without `X-Vault-Request: true`, but for probes and metrics.
    pub(super) require_request_header: bool,
    /// Offers the end of the agent.
    pub(super) enable_quit: bool,
}

/// A page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    /// The program works.
    Health,
    /// Every file exists.
    Ready,
    /// Numbers for Prometheus.
    Metrics,
    /// The agent ends.
    Quit,
    /// No page.
    Refused {
        status: &'static str,
        reason: &'static str,
    },
}

/// Decides. `is_local` tells whether the request comes from our own pod.
pub(super) fn route(request: &Request, is_local: bool, rules: Rules) -> Page {
    let Request {
        method,
        path,
        has_vault_header,
    } = request;
    let Rules {
        metrics_only,
        require_request_header,
        enable_quit,
    } = rules;
    let refused = |status, reason| Page::Refused { status, reason };
    let page = match path.as_str() {
        "/healthz" => Page::Health,
        "/readyz" => Page::Ready,
        "/metrics" | "/agent/v1/metrics" => Page::Metrics,
        "/agent/v1/quit" if enable_quit && !metrics_only => {
            return if !is_local {
                refused(
                    "403 Forbidden",
                    "only containers of the same pod may end the agent",
                )
            } else if require_request_header && !has_vault_header {
                refused("412 Precondition Failed", "the header X-Vault-Request is missing")
            } else if method == "POST" || method == "PUT" {
                Page::Quit
            } else {
                refused("405 Method Not Allowed", "POST ends the agent")
            };
        }
        "/agent/v1/quit" => {
            return refused("404 Not Found", "the listener does not set agent_api.enable_quit");
        }
        path if path.starts_with("/v1/") => {
            return refused(
                "501 Not Implemented",
                "this agent does not pass requests on to Vault",
            );
        }
        _ => return refused("404 Not Found", "no such page"),
    };
    if method == "GET" || method == "HEAD" {
        page
    } else {
        refused("405 Method Not Allowed", "GET reads this page")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Rules = Rules {
        metrics_only: false,
        require_request_header: false,
        enable_quit: true,
    };

    fn ask(method: &str, path: &str, is_local: bool, rules: Rules) -> Page {
        let request = Request {
            method: method.to_owned(),
            path: path.to_owned(),
            has_vault_header: false,
        };
        route(&request, is_local, rules)
    }

    fn status(page: Page) -> &'static str {
        match page {
            Page::Refused { status, .. } => &status[..3],
            _ => "200",
        }
    }

    #[test]
    fn pages_are_read_and_only_read() {
        for (path, page) in [
            ("/healthz", Page::Health),
            ("/readyz", Page::Ready),
            ("/metrics", Page::Metrics),
            ("/agent/v1/metrics", Page::Metrics),
        ] {
            assert_eq!(ask("GET", path, false, OPEN), page, "{path}");
            assert_eq!(ask("HEAD", path, false, OPEN), page, "{path}");
            assert_eq!(status(ask("POST", path, true, OPEN)), "405", "{path}");
        }
        assert_eq!(status(ask("GET", "/", true, OPEN)), "404");
        assert_eq!(status(ask("GET", "/v1/secret/data/app", true, OPEN)), "501");
    }

    #[test]
    fn only_the_own_pod_ends_the_agent_and_only_where_that_is_on() {
        let quit = "/agent/v1/quit";
        assert_eq!(ask("POST", quit, true, OPEN), Page::Quit);
        assert_eq!(ask("PUT", quit, true, OPEN), Page::Quit);
        assert_eq!(
            status(ask("GET", quit, true, OPEN)),
            "405",
            "a link must not end it"
        );
        assert_eq!(status(ask("POST", quit, false, OPEN)), "403", "from another pod");
        for rules in [
            Rules {
                enable_quit: false,
                ..OPEN
            },
            Rules {
                metrics_only: true,
                ..OPEN
            },
        ] {
            assert_eq!(status(ask("POST", quit, true, rules)), "404", "{rules:?}");
        }
        let strict = Rules {
            require_request_header: true,
            ..OPEN
        };
        assert_eq!(
            status(ask("POST", quit, true, strict)),
            "412",
            "without the header"
        );
        assert_eq!(
            ask("GET", "/metrics", false, strict),
            Page::Metrics,
            "a scraper sends no such header"
        );
    }
}
