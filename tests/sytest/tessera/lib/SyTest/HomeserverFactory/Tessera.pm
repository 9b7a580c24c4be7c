use strict;
use warnings;

require SyTest::Homeserver::Tessera;

package SyTest::HomeserverFactory::Tessera;
use base qw( SyTest::HomeserverFactory );

sub _init
{
   my $self = shift;
   $self->{args} = {
      root         => $ENV{TESSERA_ROOT},
      binary       => $ENV{TESSERA_BIN},
      room_version => 10,
   };
   $self->SUPER::_init( @_ );
}

# Sytest skips tests that are for one implementation alone.
sub implementation_name
{
   return "tessera";
}

sub get_options
{
   my $self = shift;
   return (
      'tessera-root=s'         => \$self->{args}{root},
      'tessera-binary=s'       => \$self->{args}{binary},
      'tessera-room-version=s' => \$self->{args}{room_version},
      $self->SUPER::get_options(),
   );
}

sub print_usage
{
   print STDERR <<EOF
       --tessera-root DIR          - the repository, with its plug-ins built (or TESSERA_ROOT)
       --tessera-binary FILE       - the server; default: target/debug/tessera of the root (or TESSERA_BIN)
       --tessera-room-version N    - the default room version; default: 10
EOF
}

sub create_server
{
   my $self = shift;
   return SyTest::Homeserver::Tessera->new( @_, %{ $self->{args} } );
}

1;
