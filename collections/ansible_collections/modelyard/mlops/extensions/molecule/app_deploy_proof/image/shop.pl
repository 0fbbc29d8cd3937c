# SPDX-License-Identifier: Apache-2.0
# An app that is not ours in any way: another language, a port of its own, no model. It says with each answer which
# release it is. BEHAVIOUR names what is wrong with it, AFTER is the number of answers to /ready that are still right.
use strict;
use warnings;
use IO::Socket::INET;

my $behaviour = $ENV{BEHAVIOUR} // "";
my ($ready, $after, $ending) = (0, $ENV{AFTER} // 3, 0);
my $begun = time;

$| = 1;
if ($behaviour eq "exits") { print STDERR "the shop is closed for ever\n"; exit 3 }
if ($behaviour eq "hungry") { my @hoard = map { "x" x (8 << 20) } 1 .. 64 }
select(undef, undef, undef, $ENV{BOOT}) if $ENV{BOOT};

my $server = IO::Socket::INET->new(LocalPort => 5678, Listen => 512, ReuseAddr => 1, ReusePort => 1) or die "listen: $@";
# What has come in by then is answered before the end.
$SIG{TERM} = sub { $ending = 1 };
$SIG{PIPE} = "IGNORE";

while (1) {
    $server->blocking(!$ending);
    my $client = $server->accept;
    if (!$client) { last if $ending; next }
    $client->blocking(1);
    serve($client);
    close $client;
}

sub serve {
    my ($client) = @_;
    my ($request, $length) = ("", 0);
    while (index($request, "\r\n\r\n") < 0) { sysread($client, $request, 65536, length $request) or return }
    $length = $1 if $request =~ /\r\ncontent-length: *(\d+)/i;
    my $body = substr($request, index($request, "\r\n\r\n") + 4);
    while (length $body < $length) { sysread($client, $body, 65536, length $body) or return }
    my $status = "200 OK";
    if ($request =~ m{^GET /ready}) {
        $ready++;
        $status = "503 Service Unavailable" if $behaviour eq "never ready";
        $status = "503 Service Unavailable" if $behaviour eq "unready later" && $ready > $after;
        exit 4 if $behaviour eq "dies later" && $ready > $after;
    }
    my $text = qq({"version": "$ENV{VERSION}", "bytes": $length}\n);
    syswrite($client, "HTTP/1.1 $status\r\nX-Release: $ENV{RELEASE}\r\nContent-Type: application/json\r\n"
        . "Connection: close\r\nContent-Length: " . length($text) . "\r\n\r\n$text");
}
