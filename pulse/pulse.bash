# bash completion for pulse
_pulse() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} words
  case $previous in
  --connect | --file) mapfile -t COMPREPLY < <(compgen -f -- "$current") && return ;;
  --kind)
    words="cache durable"
    case " ${COMP_WORDS[*]} " in
    *" events "*) words="member member.joined member.suspected member.refuted member.dead member.left election election.gained election.moved election.lost leader.changed voter voter.added voter.changed voter.removed quorum quorum.lost quorum.regained snapshot.taken snapshot.installed lease lease.lost lease.regained node node.slow node.recovered hyphae hyphae.moved hyphae.loss_accepted septum.created policy policy.applied policy.rolled_back feature.activated store store.away store.back keys.rotated" ;;
    esac ;;
  --level) words="memory replicated disk object" ;;
  hypha) words="accept-loss" ;;
  accept-loss) words=$(pulse septa --json 2>/dev/null | grep -o '"name":"[^"]*"' | cut -d'"' -f4) ;;
  septum) words="create alter $(pulse septa --json 2>/dev/null | grep -o '"name":"[^"]*"' | cut -d'"' -f4)" ;;
  policy) words="list show check try apply rollback" ;;
  apply | check | try | load) mapfile -t COMPREPLY < <(compgen -f -- "$current") && return ;;
  show | rollback) words="discovery topology voters election placement balance persistence topics queue slow_subscriber eviction authz" ;;
  keys) words="list install use remove" ;;
  nodosum | mycel | cytoplasm) words=$(pulse members --json 2>/dev/null | grep -o '"name":"[^"]*"' | cut -d'"' -f4) ;;
  events) words="--all --follow --json --kind --since" ;;
  campaign | transfer) words=$(pulse leaders --json 2>/dev/null | grep -o '"subsystem":"[^"]*"' | cut -d'"' -f4) ;;
  get | put | del | incr | append | touch | expire | take | watch | count | scan)
    words=$(pulse septa --json 2>/dev/null | grep -o '"name":"[^"]*"' | cut -d'"' -f4) ;;
  *) words="nodes members leaders voters campaign lock transfer events discovery hypha hyphae topology features remove status metrics septa septum keys get put del incr append touch expire take watch count scan load pub sub request policy --connect --help --json --version -e" ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}
complete -F _pulse pulse
