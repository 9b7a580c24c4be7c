use strict;
use warnings;

package SyTest::Homeserver::Tessera;
use base qw( SyTest::Homeserver );

use Carp;
use Cwd qw( abs_path getcwd );
use File::Path qw( remove_tree );
use File::Slurper qw( read_text );

use SyTest::SSL qw( ensure_ssl_key create_ssl_cert );

# The server in one process on SQLite, with the testing descriptor and what Sytest expects beyond it.

sub _init
{
   my $self = shift;
   my ( $args ) = @_;

   $self->{$_} = delete $args->{$_} for qw( root binary room_version );
   defined $self->{root} or croak "Need --tessera-root or TESSERA_ROOT";
   $self->{root} = abs_path( $self->{root} );
   $self->{binary} //= "$self->{root}/target/debug/tessera";
   -x $self->{binary} or croak "No server at $self->{binary}";

   $self->SUPER::_init( $args );

   my $idx = $self->{hs_index};
   $self->{ports} = {
      plain => main::alloc_port( "tessera[$idx]" ),
      tls   => main::alloc_port( "tessera[$idx].tls" ),
   };
}

sub server_name
{
   my $self = shift;
   return "$self->{bind_host}:$self->{ports}{tls}";
}

sub federation_host
{
   my $self = shift;
   return $self->{bind_host};
}

sub federation_port
{
   my $self = shift;
   return $self->{ports}{tls};
}

sub public_baseurl
{
   my $self = shift;
   return "http://$self->{bind_host}:$self->{ports}{plain}";
}

sub start
{
   my $self = shift;

   my $dir = $self->{hs_dir};
   remove_tree( "$dir/data" ) if -d "$dir/data";

   ensure_ssl_key( "$dir/tls.key" );
   create_ssl_cert( "$dir/tls.crt", "$dir/tls.key", $self->{bind_host} );
   my $config = $self->write_file( "tessera.toml", $self->_descriptor );

   $self->{output}->diag( "Starting Tessera " . $self->server_name );
   return $self->_start_process_and_await_connectable(
      setup => [
         env => {
            PATH          => $ENV{PATH},
            TESSERA_CACHE => "$self->{root}/target/tmp/compiled",
         },
         chdir => $dir,
      ],
      # What it logs goes to a file rather than between the results.
      command => [ "sh", "-c", 'exec "$0" run --config "$1" >>"$2" 2>&1',
         $self->{binary}, $config, "$dir/tessera.log" ],
      connect_host => $self->{bind_host},
      connect_port => $self->{ports}{plain},
      name => "tessera-$self->{hs_index}",
   )->else( sub {
      die "Tessera did not start: $_[0]; see $dir/tessera.log\n";
   });
}

sub _descriptor
{
   my $self = shift;

   my $dir = $self->{hs_dir};
   my $host = $self->{bind_host};
   my $name = $self->server_name;
   my $keys = getcwd . "/keys";

   # Tables that this adds to are merged by hand: TOML has each table once.
   my $testing = read_text( "$self->{root}/config/testing.toml" );
   $testing =~ s/^(\[fetch\])$/$1\nca-file = "$keys\/ca.crt"/m
      or die "config/testing.toml has no [fetch]\n";
   # What stands there of these is said again below.
   $testing =~ s/^\[plugins\.(?:accounts|rooms)\.config\]\n(?:(?!\[).*\n?)*//mg;

   my %accounts = (
      '"registration"'  => '"open"',
      '"shared-secret"' => '"reg_secret"',
      '"guests"'        => 'true',
   );
   if( my $recaptcha = $self->{recaptcha_config} ) {
      $accounts{'"recaptcha"'} = sprintf '{ public-key = "%s", private-key = "%s", verify-url = "%s", required = false }',
         $recaptcha->{public_key}, $recaptcha->{private_key}, $recaptcha->{siteverify_api};
   }
   # Suites follow links and press no buttons.
   if( $self->{smtp_server_config} ) {
      $accounts{'"email"'} = '"optional"';
      $accounts{'"mail-links"'} = '"at-once"';
   }
   my $accounts = join ", ", map { "$_ = $accounts{$_}" } sort keys %accounts;

   my $mail = "";
   if( my $smtp = $self->{smtp_server_config} ) {
      $mail = "[mail]\nrelay = \"smtp://$smtp->{host}:$smtp->{port}\"\nfrom = \"tessera\@localhost\"\n";
   }

   return <<EOF;
$testing
[server]
data = "$dir/data"
plugins = "$self->{root}/target/plugins"

[tenant]
name = "$name"

[[listeners]]
address = "$host:$self->{ports}{plain}"

[[listeners]]
address = "$host:$self->{ports}{tls}"
tls = { certificate = "$dir/tls.crt", key = "$dir/tls.key" }

$mail
[plugins.accounts]
config = { $accounts, "default-room-version" = "$self->{room_version}" }

[plugins.rooms]
config = { "default-room-version" = "$self->{room_version}", "identity-servers" = ["*"] }
EOF
}

1;
