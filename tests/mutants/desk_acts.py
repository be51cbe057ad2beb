"""What is taken out of the pages of acts, approvals and bulk acts, and the tests that should notice."""

from functools import partial

from tests.mutants.mutations import Mutant, OnSQLite, edit

ACTS = ("tests/desk/test_acts.py",)
APPROVALS = ("tests/desk/test_approvals.py",)
BULK = ("tests/desk/test_bulk.py",)

in_acts = partial(edit, "admin/acts.py")
in_forms = partial(edit, "admin/act_forms.py")
in_desk = partial(edit, "admin/desk.py")
in_approvals = partial(edit, "admin/approvals.py")
in_pages = partial(edit, "admin/bulk.py")
in_previews = partial(edit, "admin/bulk_previews.py")
in_bulk = partial(edit, "bulk.py")

MUTANTS = [
    OnSQLite(
        "the headers of what was run are masked",
        (
            edit(
                "admin/acts.py",
                "    return payloads.masked_headers(json.dumps(answer.headers))\n",
                "    return [*answer.headers]\n",
            ),
        ),
        ("tests/desk/test_outcomes.py",),
        only="headers",
    ),
    OnSQLite(
        "whoever approves is told what has come of it",
        (edit("admin/approvals.py", "    return found.act in SENDING\n", "    return False\n"),),
        ("tests/desk/test_outcomes.py",),
        only="TestApprovals",
    ),
    OnSQLite(
        "the permission of an act",
        (in_acts("has_view_permission(request) and may(request.user, page)):", "has_view_permission(request)):"),),
        ACTS,
        only="no_button",
    ),
    OnSQLite(
        "the permission to see requests, of an act",
        (in_acts("(model_admin.has_view_permission(request) and may(request.user, page))", "may(request.user, page)"),),
        ACTS,
        only="may_not_see",
    ),
    OnSQLite(
        "every permission of an act",
        (in_acts("return all(user.has_perm(", "return any(user.has_perm("),),
        ACTS,
        only="TestShowing",
    ),
    OnSQLite(
        "buttons of acts only for whom they are",
        (in_acts(" for act in _fitting(found) if may(user, PAGES[act])", " for act in _fitting(found)"),),
        ACTS,
        only="no_button",
    ),
    OnSQLite(
        "an act is done as it was seen",
        (
            in_forms(
                "{**said, self.seen: seen} if self.seen else said", "{**said, self.seen: None} if self.seen else said"
            ),
        ),
        ACTS,
        only="moved_on or counter",
    ),
    OnSQLite(
        "the pages of acts are outside of ATOMIC_REQUESTS",
        (in_desk("        view = transaction.non_atomic_requests(using=alias)(view)\n", "        pass\n"),),
        ACTS,
        only="own_transaction",
    ),
    OnSQLite(
        "what a run has answered is masked",
        (
            in_acts(
                "    if desk.act == SHOW_ANSWER:\n        return payloads.unmasked",
                "    if True:\n        return payloads.unmasked",
            ),
        ),
        ACTS,
        only="masked",
    ),
    OnSQLite(
        "the permission to approve",
        (in_approvals('        if not request.user.has_perm(f"{APP}.approve"):\n', "        if False:\n"),),
        APPROVALS,
        only="no_button",
    ),
    OnSQLite(
        "the permission to reject",
        (in_approvals('(request.user.has_perm(f"{APP}.approve") or _is_theirs(found, actor))', "True"),),
        APPROVALS,
        only="no_button",
    ),
    OnSQLite(
        "the permission to see approvals",
        (in_desk("        if not self.has_view_permission(request):\n", "        if False:\n"),),
        APPROVALS,
        only="alone",
    ),
    OnSQLite(
        "what was changed in the database has no button",
        (in_approvals(' and frozen.get("intact")', ""),),
        APPROVALS,
        only="changed_in_the_database",
    ),
    OnSQLite(
        "what would be answered is masked",
        (in_approvals('if name in ("body", "result"):', "if False:"),),
        APPROVALS,
        only="masked",
    ),
    OnSQLite(
        "only what is ticked",
        (
            in_previews(
                "ids = request.POST.getlist(ACTION_CHECKBOX_NAME)", 'ids = [*queryset.values_list("pk", flat=True)]'
            ),
        ),
        BULK,
        only="ticked",
    ),
    OnSQLite(
        "the permission of a bulk act",
        (in_previews("if not (model_admin.has_view_permission(request) and acts.may(", "if not (True or acts.may("),),
        BULK,
        only="no_way",
    ),
    OnSQLite(
        "the permission to stop a bulk act and to go on",
        (in_pages("        if not acts.may(request.user, PAGES[run.act]):\n", "        if False:\n"),),
        BULK,
        only="takes_the_permission",
    ),
    OnSQLite(
        "a bulk act is gone on with by whom it is of",
        (in_pages("        if not _is_theirs(request, run):\n", "        if False:\n"),),
        BULK,
        only="name_of_another",
    ),
    OnSQLite(
        "the cap of a bulk act",
        (in_bulk("if not 0 < len(chosen) <= MOST:", "if not chosen:"),),
        BULK,
        only="cap",
    ),
    OnSQLite(
        "a row is done as it was seen",
        (
            in_bulk(
                'SEEN.get(act, "counter"): row.seen}',
                'SEEN.get(act, "counter"): IdempotencyRecord.objects.get(pk=found).claim}',
            ),
        ),
        BULK,
        only="moved",
    ),
    OnSQLite(
        "a row is begun once",
        (
            in_bulk(
                "    return bool(waiting.update(state=State.BEGUN))",
                "    waiting.update(state=State.BEGUN)\n    return True",
            ),
        ),
        BULK,
        only="two_who",
    ),
    OnSQLite(
        "what a row says is committed with its act",
        (in_bulk("    if Act(bulk.act) in SENDING:", "    if True:"),),
        BULK,
        only="whose_process_dies",
    ),
    OnSQLite(
        "what is sent is begun before it is sent",
        (in_bulk("    if Act(bulk.act) in SENDING:", "    if False:"),),
        BULK,
        only="sent_is_not_begun_again",
    ),
    Mutant(
        "a bulk act is given to another worker",
        (edit("tasks/upkeep.py", "@partial(_upkeep, acks_late=True, reject_on_worker_lost=True)", "@_upkeep"),),
        ("tests/celery/test_bulk_kill.py",),
        only="another_process",
    ),
    OnSQLite(
        "a bulk act can be stopped",
        (in_bulk("filter(pk=bulk.pk, stopped_at=None).exists()", "filter(pk=bulk.pk).exists()"),),
        BULK,
        only="stopped",
    ),
    OnSQLite(
        "rows need a second person, too",
        (in_bulk("return approvals.request(needs).pk", "raise NotResolved from needs"),),
        BULK,
        only="row_by_row",
    ),
    OnSQLite(
        "one broken row stops no other",
        (in_bulk("    except Exception as exc:\n", "    except AssertionError as exc:\n"),),
        BULK,
        only="breaks",
    ),
]
