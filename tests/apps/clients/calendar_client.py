"""A CalDAV client: makes calendars, fills, searches, changes and empties them. Argument: the server's address."""
import datetime
import sys

import caldav

address = sys.argv[1]


def at(day, hour):
    return datetime.datetime(2027, 3, day, hour, tzinfo=datetime.timezone.utc)


def summaries(found):
    return sorted(str(each.icalendar_component['summary']) for each in found)


margaret = caldav.DAVClient(address, username='margaret', password='secret')
principal = margaret.principal()
assert principal.get_calendars() == []

calendar = principal.make_calendar(name='Bürozeiten 世界', cal_id='office')
[found] = principal.get_calendars()
assert found.get_display_name() == 'Bürozeiten 世界', found.get_display_name()
assert found.url == calendar.url

sync = calendar.get_objects_by_sync_token()
assert len(list(sync)) == 0

meeting = calendar.add_event(uid='meeting', summary='Besprechung, groß', dtstart=at(1, 9), dtend=at(1, 10))
calendar.add_event(uid='daily', summary='Kaffee', dtstart=at(1, 12), dtend=at(1, 13), rrule={'FREQ': 'DAILY', 'COUNT': 5})
calendar.add_event(uid='later', summary='Später', dtstart=at(20, 9), dtend=at(20, 10))
calendar.add_todo(uid='milk', summary='Milch')

assert summaries(calendar.get_events()) == ['Besprechung, groß', 'Kaffee', 'Später']
assert summaries(calendar.get_todos()) == ['Milch']
assert summaries(calendar.search(start=at(1, 0), end=at(2, 0), event=True)) == ['Besprechung, groß', 'Kaffee']
# The second occurrence of what repeats.
assert summaries(calendar.search(start=at(2, 0), end=at(3, 0), event=True)) == ['Kaffee']
assert summaries(calendar.search(start=at(21, 0), end=at(22, 0), event=True)) == []

meeting.icalendar_component['summary'] = 'Besprechung, klein'
meeting.save()
assert calendar.get_event_by_uid('meeting').icalendar_component['summary'] == 'Besprechung, klein'

sync.sync()
assert len(list(sync)) == 4, list(sync)
calendar.get_event_by_uid('later').delete()
assert summaries(calendar.get_events()) == ['Besprechung, klein', 'Kaffee']
updated, gone = sync.sync()
assert [each.url.path.rsplit('/')[-1] for each in gone] == ['later.ics'], gone

# Somebody else sees nothing of it, and nobody gets in with a wrong password.
ada = caldav.DAVClient(address, username='ada', password='other')
assert ada.principal().get_calendars() == []
try:
    ada.calendar(url=calendar.url).get_events()
except caldav.error.AuthorizationError:
    pass
else:
    raise AssertionError('Ada reads the calendar of Margaret')
try:
    caldav.DAVClient(address, username='margaret', password='wrong').principal().get_calendars()
except caldav.error.AuthorizationError:
    pass
else:
    raise AssertionError('a wrong password is taken')

calendar.delete()
assert principal.get_calendars() == []
print('done')
