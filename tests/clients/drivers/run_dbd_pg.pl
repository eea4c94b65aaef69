#!/usr/bin/perl
# DBD::Pg (libpq): server-side prepared statements, asynchronous queries for the cancel.
use strict;
use warnings;
use utf8;
use DBI;
use DBD::Pg ':async';
use Digest::SHA 'sha256_hex';
use Encode 'encode_utf8';
use File::Basename 'dirname';
use JSON::PP;

my $json = JSON::PP->new->allow_nonref->utf8;
my $large = $ENV{HSD_LARGE} // 1000;
my @notices;
local $SIG{__WARN__} = sub { push @notices, $_[0] };
my $tls = $ENV{PGSSLROOTCERT} ? ";sslrootcert=$ENV{PGSSLROOTCERT}" : '';
my $dbh = DBI->connect("dbi:Pg:dbname=$ENV{PGDATABASE};host=$ENV{PGHOST};port=$ENV{PGPORT};sslmode=$ENV{PGSSLMODE}$tls", $ENV{PGUSER}, $ENV{PGPASSWORD},
	{ AutoCommit => 1, RaiseError => 1, PrintError => 0, PrintWarn => 1, pg_server_prepare => 1, pg_placeholder_dollaronly => 1 });

sub digest { substr sha256_hex(encode_utf8($_[0])), 0, 16 }

sub rows {
	my ($step, $got) = @_;
	my @rows = map { [map { defined $_ ? "$_" : undef } @$_] } @$got;
	return \@rows unless $step->{digest};
	return ['' . @rows, digest(join "\n", map { join "\t", map { $_ // '\N' } @$_ } @rows)];
}

sub ask {
	my ($sql, @values) = @_;
	my $sth = $dbh->prepare($sql);
	$sth->execute(@values);
	return $sth->{NUM_OF_FIELDS} ? $sth->fetchall_arrayref : undef;
}

sub attempt {
	my $code = shift;
	my $got = eval { $code->() };
	return $@ ? { error => $dbh->state } : $got;
}

my %ops = (
	query => sub { rows($_[0], ask($_[0]{sql})) },
	params => sub { rows($_[0], ask($_[0]{sql}, @{ $_[0]{params} })) },
	prepared => sub {
		my $step = shift;
		my $sth = $dbh->prepare($step->{sql});
		return [map { $sth->execute(@$_); rows($step, $sth->fetchall_arrayref) } @{ $step->{params} }];
	},
	sequence => sub {
		my $step = shift;
		return [map { my $sql = $_; attempt(sub { $sql =~ /select/ ? rows($step, ask($sql)) : do { $dbh->do($sql); undef } }) } @{ $step->{sql} }];
	},
	copy_in => sub {
		my $step = shift;
		$dbh->do($step->{sql});
		$dbh->pg_putcopydata("$_\trow $_\n") for 1 .. $step->{rows};
		$dbh->pg_putcopyend;
		return undef;
	},
	copy_fails => sub {
		my $step = shift;
		attempt(sub { $dbh->do($step->{sql}); $dbh->pg_putcopydata("x\ty\n"); $dbh->pg_putcopyend; undef });
	},
	copy_out => sub {
		my $step = shift;
		my ($text, $line) = ('', '');
		$dbh->do($step->{sql});
		$text .= $line while $dbh->pg_getcopydata(\$line) >= 0;
		return ['' . ($text =~ tr/\n//), digest($text)];
	},
	notice => sub {
		@notices = ();
		$dbh->do($_[0]{sql});
		return [map { /(?:NOTICE|WARNING):\s+(.*)/ ? $1 : () } @notices];
	},
	cancel => sub {
		my $step = shift;
		my $sth = $dbh->prepare($step->{sql}, { pg_async => PG_ASYNC });
		$sth->execute;
		select undef, undef, undef, 0.5;
		my $cancelled = $dbh->pg_cancel;
		return { error => $cancelled ? '57014' : 'not cancelled' };
	},
	cursor => sub {
		my $step = shift;
		my ($n, $sum) = (0, 0);
		$dbh->begin_work;
		$dbh->do("declare hsd_c cursor for $step->{sql}");
		while (1) {
			my $some = ask("fetch $step->{fetch} from hsd_c");
			last unless @$some;
			$n++, $sum += $_->[0] for @$some;
		}
		$dbh->commit;
		return ["$n", "$sum"];
	},
	transaction => sub {
		my $step = shift;
		$dbh->begin_work;
		$dbh->do($step->{sql}[0]);
		$dbh->commit;
		$dbh->begin_work;
		$dbh->do($step->{sql}[1]);
		$dbh->rollback;
		return rows($step, ask($step->{sql}[2]));
	},
	autosave => sub {
		my $step = shift;
		$dbh->begin_work;
		$dbh->do($step->{sql}[0]);
		$dbh->pg_savepoint('hsd_s');
		attempt(sub { $dbh->do($step->{sql}[1]) });
		$dbh->pg_rollback_to('hsd_s');
		my $got = rows($step, ask($step->{sql}[2]));
		$dbh->commit;
		return $got;
	},
	batch => sub {
		my $step = shift;
		my $sth = $dbh->prepare($step->{sql});
		$sth->execute_array({}, [map { $_->[0] } @{ $step->{params} }]);
		return undef;
	},
	listen => sub {
		$dbh->do($_) for @{ $_[0]{sql} };
		my $got = $dbh->pg_notifies;
		return [$got->[0], $got->[2]];
	},
	large_in => sub { rows($_[0], ask($_[0]{sql}, 'y' x $large)) },
);

open my $file, '<:raw', dirname(__FILE__) . '/../steps.json' or die $!;
local $/;
my %only = map { $_ => 1 } split /,/, $ENV{HSD_STEPS} // '';
for my $step (@{ $json->decode(<$file>) }) {
	next if !$ops{ $step->{op} } || !$ops{ $step->{needs} // $step->{op} } || (%only && !$only{ $step->{step} });
	$step->{sql} =~ s/\{large\}/$large/ unless ref $step->{sql};
	print $json->encode({ step => $step->{step}, result => $ops{ $step->{op} }->($step) }), "\n";
}
$dbh->disconnect;
