"""A zone, servers of it, and what is asked of them."""
import re

from stage import HOST4, HOST6, PEER4, PEER6

NAMES = 100
ZONE = """$TTL 300
@ IN SOA ns hostmaster 1 3600 600 86400 300
@ IN NS ns
ns IN A 198.18.0.1
ns IN AAAA 2001:db8::1
@ IN MX 10 mail.example.net.
long IN TXT {long}
""".format(long=" ".join(f'"{"x" * 200}{i}"' for i in range(5))) + "".join(
    f"h{i} IN A 203.0.113.{i}\nh{i} IN AAAA 2001:db8:1::{i:x}\n" for i in range(NAMES))

QUERIES = "".join(f"h{i}.example.org A\nh{i}.example.org AAAA\nno{i}.example.org A\n" for i in range(NAMES)) + (
    "example.org MX\nlong.example.org TXT\n")
DIGS = (["h7.example.org", "A"], ["h7.example.org", "AAAA"], ["absent.example.org", "A"], ["example.org", "MX"],
        ["long.example.org", "TXT", "+bufsize=4096"], ["long.example.org", "TXT", "+bufsize=512"])


def prepare(directory):
    """The zone and the queries as files."""
    (directory / "example.org.zone").write_text(ZONE)
    (directory / "queries").write_text(QUERIES)
    return directory


def ask(run, server, *words):
    """What dig says of an answer, but for what differs each time."""
    text = run("dig", f"@{server}", "+time=3", "+tries=1", "+norecurse", "+nottlid", *words)
    ignored = r";; (Query time|WHEN|SERVER|MSG SIZE)|; COOKIE|; <<>> DiG|;; Truncated"
    lines = [re.sub(r"id: \d+", "id:", line) for line in text.splitlines() if not re.match(ignored, line)]
    return "\n".join(sorted(line for line in lines if line))


def load(run, server, directory, times=20):
    """How many queries dnsperf had answered, and how."""
    text = run("dnsperf", "-s", server, "-d", directory / "queries", "-n", times, "-c", 8, "-q", 50, "-t", 3)
    return {"completed": re.search(r"Queries completed: +(\d+)", text)[1],
            "codes": re.search(r"Response codes: +(.*)", text)[1],
            "lost": re.search(r"Queries lost: +(\d+)", text)[1]}


def questions(run, servers, directory, recurse=False):
    """Everything that is asked of a server."""
    more = ["+recurse"] if recurse else []
    return {"digs": [ask(run, s, *more, *q) for s in servers for q in DIGS],
            "load": [load(run, s, directory) for s in servers]}


# What each server is told, and the command.
def dnsmasq(d):
    hosts = "".join(f"203.0.113.{i} h{i}.example.org\n2001:db8:1::{i:x} h{i}.example.org\n" for i in range(NAMES))
    (d / "hosts").write_text(hosts)
    return ["dnsmasq", "--keep-in-foreground", "--log-facility=-", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
            f"--addn-hosts={d}/hosts", "--local=/example.org/", "--mx-host=example.org,mail.example.net,10",
            "--auth-ttl=300", "--user=root", "--pid-file=", "--cache-size=1000"]


def knot(d, address4=HOST4, address6=HOST6):
    (d / "knot.conf").write_text(f"""
server:
  rundir: {d}
  listen: [ {address4}@53, {address6}@53 ]
  udp-workers: 2
  tcp-workers: 1
  background-workers: 1
database:
  storage: {d}
log:
  - target: stderr
    any: info
zone:
  - domain: example.org
    file: {d}/example.org.zone
    semantic-checks: off
""")
    return ["knotd", "-c", d / "knot.conf", "-v"]


def nsd(d):
    (d / "nsd.conf").write_text(f"""
server:
  ip-address: 198.18.0.1
  ip-address: 2001:db8::1
  server-count: 3
  reuseport: yes
  username: nsd
  chroot: ""
  zonesdir: {d}
  database: ""
  pidfile: ""
  xfrdfile: ""
  zonelistfile: {d}/zone.list
  rrl-ratelimit: 0
  verbosity: 2
remote-control:
  control-enable: no
zone:
  name: example.org
  zonefile: example.org.zone
""")
    return ["nsd", "-d", "-c", d / "nsd.conf"]


def unbound(d):
    (d / "unbound.conf").write_text(f"""
server:
  interface: 198.18.0.1
  interface: 2001:db8::1
  access-control: 0.0.0.0/0 allow
  access-control: ::/0 allow
  num-threads: 2
  so-reuseport: yes
  username: unbound
  chroot: ""
  directory: {d}
  pidfile: ""
  use-syslog: no
  do-daemonize: no
  do-not-query-localhost: no
  module-config: "iterator"
  local-zone: "example.org." nodefault
remote-control:
  control-enable: no
stub-zone:
  name: "example.org"
  stub-addr: {PEER4}
  stub-addr: {PEER6}
""")
    return ["unbound", "-d", "-p", "-c", d / "unbound.conf"]


def named(d):
    (d / "named.conf").write_text(f"""
options {{
  directory "{d}";
  listen-on {{ 198.18.0.1; }};
  listen-on-v6 {{ 2001:db8::1; }};
  pid-file none;
  session-keyfile none;
  recursion no;
  dnssec-validation no;
  empty-zones-enable no;
}};
controls {{ }};
zone "example.org" {{ type primary; file "example.org.zone"; }};
""")
    return ["named", "-g", "-u", "bind", "-n", 2, "-c", d / "named.conf"]
