#!/usr/bin/env python3
"""Writes recurrence.tsv: what schedules are due when, by a second implementation (dateutil and zoneinfo).

Run it in this folder: python3 recurrence.py > recurrence.tsv

Columns: kind, zone, start, rule, after, and the next four instants after it, all in UTC.
The rules of the house, told once more and otherwise: a time on the wall that does not exist is the first instant that does; one that
comes twice is the first of the two; a cron expression whose hour is `*` goes by the minutes that pass.
"""

import datetime as dt
from zoneinfo import ZoneInfo

from dateutil.rrule import rrulestr

UTC = dt.timezone.utc
COUNT = 4
MONTHS = dict(zip("JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split(), range(1, 13)))
DAYS = dict(zip("SUN MON TUE WED THU FRI SAT".split(), range(7)))

# Changes of the clocks: both hemispheres, half an hour (Lord Howe), during Ramadan (Casablanca, El Aaiun), at 2:45 (Chatham), at
# midnight (Cairo, Havana, Beirut, Santiago), a change of the zone itself (Apia, Pyongyang), half and quarter hours without any.
ZONES = """Europe/Berlin Europe/London Europe/Dublin America/New_York America/Los_Angeles America/St_Johns America/Sao_Paulo
America/Santiago America/Havana America/Asuncion Africa/Casablanca Africa/El_Aaiun Africa/Cairo Asia/Beirut Asia/Tehran
Asia/Kolkata Asia/Kathmandu Asia/Gaza Australia/Lord_Howe Australia/Sydney Australia/Eucla Pacific/Chatham Pacific/Auckland
Pacific/Apia Pacific/Norfolk Asia/Pyongyang Antarctica/Troll Africa/Juba UTC""".split()
YEARS = [2011, 2016, 2024, 2025]

CRONS = ["30 2 * * *", "0 0 * * *", "15 1-3 * * *", "*/20 0-2 * * SUN", "30 * * * *", "0 9 * * MON-FRI", "0 12 1,15 * 5",
         "59 23 L * *".replace("L", "28-31"), "*/45 * * * *"]
RRULES = ["FREQ=DAILY;BYHOUR=2;BYMINUTE=15", "FREQ=DAILY;INTERVAL=3;BYHOUR=0;BYMINUTE=0", "FREQ=WEEKLY;BYDAY=SU,MO;BYHOUR=1;BYMINUTE=30",
          "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST=SU", "FREQ=MONTHLY;BYDAY=-1SU;BYHOUR=2;BYMINUTE=30", "FREQ=MONTHLY;BYMONTHDAY=31",
          "FREQ=MONTHLY;BYMONTHDAY=1,-1;BYHOUR=0,23", "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=1,-1",
          "FREQ=YEARLY;BYMONTH=3,10,11;BYDAY=1SU,-1SU;BYHOUR=1,2", "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29", "FREQ=YEARLY;BYDAY=20MO,-1FR",
          "FREQ=YEARLY;INTERVAL=2", "FREQ=MONTHLY;INTERVAL=5;BYMONTHDAY=-2", "FREQ=DAILY;BYMONTH=3,10;BYDAY=SA,SU;BYHOUR=2;BYMINUTE=45"]


def offset(zone, instant):
    return instant.astimezone(zone).utcoffset()


def instant(zone, wall):
    """The instant that a naive time on the wall means."""
    first = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if first.astimezone(zone).replace(tzinfo=None) == wall:
        return first
    # It does not exist: the change lies between the two readings of it.
    a, b = sorted([first, wall.replace(tzinfo=zone, fold=1).astimezone(UTC)])
    before = offset(zone, a - dt.timedelta(seconds=1))
    low, high = a - dt.timedelta(seconds=1), b + dt.timedelta(seconds=1)
    while high - low > dt.timedelta(seconds=1):
        middle = (low + (high - low) / 2).replace(microsecond=0)
        if offset(zone, middle) == before:
            low = middle
        else:
            high = middle
    return high


def field(text, least, most, names=None):
    numbers = set()
    value = lambda word: (names or {}).get(word, None) if word in (names or {}) else int(word)
    for part in text.split(","):
        span, _, step = part.partition("/")
        if span == "*":
            low, high = least, most
        elif "-" in span:
            low, high = map(value, span.split("-"))
        else:
            low = high = value(span)
        numbers.update(range(low, high + 1, int(step or 1)))
    return numbers


def cron_days(expression):
    _, _, days, months, weekdays = expression.split()
    either = days[0] != "*" and weekdays[0] != "*"
    days, months = field(days, 1, 31), field(months, 1, 12, MONTHS)
    weekdays = {day % 7 for day in field(weekdays, 0, 7, DAYS)}

    def fits(date):
        by_day, by_weekday = date.day in days, date.isoweekday() % 7 in weekdays
        return date.month in months and (by_day or by_weekday if either else by_day and by_weekday)

    return fits


def cron(zone, expression, after):
    minutes, hours = field(expression.split()[0], 0, 59), expression.split()[1]
    fits, found = cron_days(expression), []
    if hours == "*":
        at = after.replace(second=0, microsecond=0)
        while len(found) < COUNT:
            at += dt.timedelta(minutes=1)
            wall = at.astimezone(zone)
            if wall.minute in minutes and fits(wall.date()):
                found.append(at)
        return found
    hours, date = field(hours, 0, 23), after.astimezone(zone).date() - dt.timedelta(days=2)
    while len(set(found)) < COUNT:
        if fits(date):
            walls = [dt.datetime(date.year, date.month, date.day, h, m) for h in sorted(hours) for m in sorted(minutes)]
            found += [at for at in (instant(zone, wall) for wall in walls) if at > after]
        date += dt.timedelta(days=1)
    return sorted(set(found))[:COUNT]


def rrule(zone, text, start, after):
    rule = rrulestr("RRULE:" + text, dtstart=start.astimezone(zone).replace(tzinfo=None))
    found = []
    for wall in rule.xafter(after.astimezone(zone).replace(tzinfo=None) - dt.timedelta(days=3), inc=True):
        at = instant(zone, wall)
        if at > after and at not in found:
            found.append(at)
        if len(found) == COUNT:
            break
    return found


def changes(zone, year):
    """The instants of a year at which the offset changes."""
    at, end = dt.datetime(year, 1, 1, tzinfo=UTC), dt.datetime(year + 1, 1, 1, tzinfo=UTC)
    while at < end:
        step = at + dt.timedelta(minutes=15)
        if offset(zone, at) != offset(zone, step):
            yield step
        at = step


def shown(at):
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def main():
    turn = 0
    for name in ZONES:
        zone = ZoneInfo(name)
        for year in YEARS:
            for change in list(changes(zone, year)) or [dt.datetime(year, 2, 27, 12, tzinfo=UTC)]:
                for hours in (30, 1):
                    after = change - dt.timedelta(hours=hours, minutes=7)
                    start = after - dt.timedelta(days=61, hours=5, minutes=43)
                    for kind, rules, count in (("cron", CRONS, 3), ("rrule", RRULES, 4)):
                        for _ in range(count):
                            rule = rules[turn % len(rules)]
                            turn += 1
                            found = cron(zone, rule, after) if kind == "cron" else rrule(zone, rule, start, after)
                            print("\t".join([kind, name, shown(start), rule, shown(after), *map(shown, found)]))


main()
