"""Deadlines of every receipt date 2024-2040, by dateutil, as days after receipt. python3 deadlines.py > deadlines.csv"""
from datetime import date, timedelta
from dateutil.relativedelta import relativedelta
from dateutil.rrule import DAILY, FR, MO, TH, TU, WE, rrule

WORK = (MO, TU, WE, TH, FR)

def working(after, count):
    return list(rrule(DAILY, count=count, byweekday=WORK, dtstart=after + timedelta(1)))[-1].date()

def rolled(day):  # Regulation 1182/71, Art. 3(4), without public holidays
    return rrule(DAILY, count=1, byweekday=WORK, dtstart=day)[0].date()

print("received,month,month_rolled,three_months,three_months_rolled,ccpa_ack,ccpa_opt_out,ccpa,ccpa_extended")
day = date(2024, 1, 1)
while day.year <= 2040:
    ends = [day + relativedelta(months=1), rolled(day + relativedelta(months=1)),
            day + relativedelta(months=3), rolled(day + relativedelta(months=3)),
            working(day, 10), working(day, 15), day + relativedelta(days=45), day + relativedelta(days=90)]
    print(day.isoformat(), *((end - day).days for end in ends), sep=",")
    day += timedelta(1)
