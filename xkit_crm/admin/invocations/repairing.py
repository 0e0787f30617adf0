"""Replay and skip of all that match: a page that counts and asks, then does it."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.translation import gettext as _

from xkit_crm.admin.base import log_of_many, number
from xkit_crm.admin.invocations.asking import InvocationAskForm
from xkit_crm.admin.invocations.replaying import ReplayPages, one_of_two
from xkit_crm.delivery import log, repairing
from xkit_crm.delivery.log import Count
from xkit_crm.delivery.repairing import Done, Repair, Selection
from xkit_crm.delivery.replay import Skipped
from xkit_crm.models import Invocation
from xkit_crm.models.invocation import InvocationStatus


class RepairPages(ReplayPages):
    """Whoever comes here by hand without the permission is refused, as for one."""

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(one_of_two(self.repair_all_view))
        door = path("all/<str:repair>/", view, name="xkit_crm_invocation_repair_all")
        return [door, *super().get_urls()]

    def repair_all_view(self, request: HttpRequest, repair: str) -> HttpResponse:
        """Count what matches and ask, then do it; as often as it takes."""
        self.require_operator(request)
        if repair not in set(Repair):
            raise Http404
        what = Repair(repair)
        form = InvocationAskForm(request.GET)
        if not form.is_valid() or form.names_too_many:
            return HttpResponseRedirect(f"{_list()}?{request.GET.urlencode()}")
        cause = form.cleaned_data["cause"]
        found = form.filters if cause else form.asked
        scope = repairing.together if "unknown" in request.POST else repairing.sure
        upto = _number(request, "upto") or log.newest()
        selection = Selection(scope(found, what), upto, cause)
        if request.method != "POST":
            unsure = Selection(repairing.unsure(found, what), upto, cause)
            return self._ask_for_all(request, form, what, selection, unsure=unsure)
        done = repairing.carry_out(selection, what, after=_number(request, "after"))
        self._log_all(request, form, what, done)
        total = done.count + _number(request, "so_far")
        if done.reached is not None:
            return self._ask_for_all(request, form, what, selection, done=done, so_far=total)
        if what is Repair.REPLAY:
            self.say_replayed(request, total)
        else:
            self.say_skipped(request, Skipped(total, done.left))
        return HttpResponseRedirect(f"{_list()}?{form.query()}")

    def _ask_for_all(
        self,
        request: HttpRequest,
        form: InvocationAskForm,
        what: Repair,
        selection: Selection,
        **context: Any,
    ) -> HttpResponse:
        titles = {
            Repair.REPLAY: _("Replay all that match"),
            Repair.SKIP: _("Skip all that match"),
        }
        if unsure := context.pop("unsure", None):
            for name, each in (("count", selection), ("unsure", unsure)):
                context[name] = repairing.count(each)
                context[f"{name}_told"] = _told(context[name])
        return self.console_page(
            request,
            "admin/xkit_crm/invocation/repair_all.html",
            title=titles[what],
            repair=what.value,
            form=form,
            described=form.described(),
            selection=selection,
            statuses=[InvocationStatus(s).label for s in selection.asked.statuses],
            with_unknown="unknown" in request.POST,
            **context,
        )

    def _log_all(
        self, request: HttpRequest, form: InvocationAskForm, what: Repair, done: Done
    ) -> None:
        """One entry for all, with what was asked for."""
        if not done.count:
            return
        verb = "Replayed" if what is Repair.REPLAY else "Skipped"
        told = f"{verb} {done.count} that match: {form.described() or 'all'}."
        log_of_many(request, Invocation, f"{done.count} invocations", told)


def _told(count: Count) -> str:
    return str(count.number) if count.is_all else _("more than %d") % count.number


def _number(request: HttpRequest, name: str) -> int:
    return number(request.POST.get(name, "")) or 0


def _list() -> str:
    return reverse("admin:xkit_crm_invocation_changelist")
